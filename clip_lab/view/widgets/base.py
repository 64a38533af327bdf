"""What every widget of the lab shares: it lives in a notebook with a kernel and in a page without.

anywidget's contract is small: a JavaScript module exports `render({model, el})`, and `model` has
`get`, `set`, `on`, `off` and `save_changes`. Beside a kernel, anywidget provides that model.
`static_html` provides a stand-in of a dozen lines, so that the same module runs, unchanged, in a
page of the book: sliders and switches work there, only Python does not hear of them.
"""

import json
from typing import Any
from uuid import uuid4

import anywidget

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
    takes the HTML.
    """

    _esm: Any  # the module and its style: paths, or the text itself
    _css: Any

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
