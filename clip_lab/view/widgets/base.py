"""What every widget of the lab shares: it lives in a notebook with a kernel and in a page without.

anywidget's contract is small: a JavaScript module exports `render({model, el})`, and `model` has
`get`, `set`, `on`, `off` and `save_changes`. Beside a kernel, anywidget provides that model.
`static_html` provides a stand-in of a dozen lines, so that the same module runs, unchanged, in a
page of the book: sliders and switches work there, only Python does not hear of them.
"""

import base64
import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import numpy as np
from PIL import Image

from clip_lab.errors import LabError

HERE = Path(__file__).parent

# The stand-in for anywidget's model. Setting a value tells its listeners, as Backbone's does.
_PAGE = """<div id="{id}"></div>
<style>{css}</style>
<script type="module">
{module}
const state = {state};
const listeners = {{}};
const model = {{
  get: (name) => state[name],
  set: (name, value) => {{
    state[name] = value;
    (listeners[`change:${{name}}`] ?? []).forEach((listener) => listener());
  }},
  on: (event, listener) => (listeners[event] ??= []).push(listener),
  off: () => {{}},
  save_changes: () => {{}},
}};
widget.render({{ model, el: document.getElementById("{id}") }});
</script>
"""


class LabWidget(anywidget.AnyWidget):
    """An anywidget that also carries a page's worth of HTML, for front ends without a kernel.

    A notebook front end takes the live widget of the two; a book, which has no kernel to talk to,
    takes the HTML. A subclass names its module and its style, `_esm` and `_css`, as paths; before
    them come base.js and base.css, which all widgets share.
    """

    _esm: Any
    _css: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for name, shared in (("_esm", "base.js"), ("_css", "base.css")):
            own = vars(cls).get(name)
            if isinstance(own, Path):  # traitlets also makes subclasses, which have them already
                text = (HERE / shared).read_text("utf-8") + "\n" + own.read_text("utf-8")
                setattr(cls, name, text)
        super().__init_subclass__(**kwargs)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**(data or {}), "text/html": static_html(self)}, metadata


def static_html(widget: LabWidget) -> str:
    """The widget as a piece of HTML that runs alone: its state, its style, its module, no request.

    The module's last statement is expected to be `export default {...}`, the only `export` in it.
    """
    names = sorted(set(widget.traits(sync=True)) - set(LabWidget.class_trait_names()))
    state = {name: getattr(widget, name) for name in names if not name.startswith("_")}
    module = str(widget._esm).replace("export default", "const widget =", 1)
    return _PAGE.format(
        id=f"widget-{uuid4().hex[:12]}",
        css=str(widget._css),
        module=_inside_script(module),
        state=_inside_script(json.dumps(state, ensure_ascii=False)),
    )


def _inside_script(text: str) -> str:
    """Text that may stand in a <script>: a caption `</script>` must not end it, nor `<!--` hide it.

    Both occur only inside strings here, where JavaScript reads `<\\/` as `</` and `<\\!` as `<!`.
    """
    return text.replace("</", "<\\/").replace("<!", "<\\!")


def picture_address(picture: Any, size: int = 64) -> str:
    """A picture as a `data:` address, at most `size` wide and high: no page has to fetch it.

    `picture` is (height, width, 3), uint8 or between 0 and 1; LabError for another shape.
    """
    pixels = np.asarray(picture)
    if pixels.dtype.kind == "f":
        pixels = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise LabError(f"A picture is (height, width, 3); this one is {pixels.shape}.")
    image = Image.fromarray(pixels)
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
