"""What every page has: a choice of models, and an address that remembers the view.

An app is a function `layout(frame)` that lays out controls inside an open `gr.Blocks`. Alone or
beside the others, it finds the models in `frame.bar` and tells `frame.keep` which of its controls
belong to what is shown, so that a lecturer can send the view as a link.
"""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from apps.folders import Folders
from apps.models import NONE, Models, about
from clip_lab import DualEncoder, LabError

Layout = Callable[["Frame"], None]

# Whatever runs the model: one at a time, and of a row of changes the last.
MODEL_WORK: dict[str, Any] = {"concurrency_id": "model", "trigger_mode": "always_last"}
# For listeners that need no model: answered at once, beside the queue.
QUICK: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

HEADER = """<header class="lab-header">
  <h1>CLIP Lab</h1>
  <p>build it · train it · see what it learnt</p>
  <button type="button" class="tour-open">Tour</button>
  <button type="button" class="lab-copy" aria-label="Copy a link to this view">Copy link</button>
  <button type="button" class="lab-theme" aria-label="Switch between light and dark">◐</button>
</header>
<p class="tour-offer" hidden>New here?
  <button type="button" class="tour-take">Take the two-minute tour</button>
  <button type="button" class="tour-decline" aria-label="Don't offer the tour again">×</button>
</p>"""


OF_ALL = "Published ones are downloaded when first chosen."
OF_PUBLIC = "Built in, or downloaded by whoever runs this page."


class Frame:
    """The models of a page and the controls that its address remembers."""

    def __init__(self, models: Models, folders: Folders | None = None):
        self.models = models
        self.folders = folders or Folders()  # those that may be read: none
        self.kept: dict[str, Any] = {}

    def header(self) -> None:
        """Title, link to the view, light and dark, and the choice of one or two models."""
        gr.HTML(HEADER, js_on_load="lab.header(element); labTour.header(element)",
                apply_default_css=False, elem_classes="lab-header-box")  # fmt: skip
        choices, others = self.choices()
        with gr.Row(elem_classes="lab-models"):
            model = gr.Dropdown(
                choices, value=self.models.first, label="Model", elem_id="model",
                info=OF_PUBLIC if self.models.public else OF_ALL,
            )  # fmt: skip
            other = gr.Dropdown(
                others, value=NONE, label="Compare with", elem_id="other",
                info="A second model, on the same input in every tab.",
            )  # fmt: skip
        self.bar = [self.keep("model", model), self.keep("other", other)]
        note = gr.Markdown(self._about(self.models.first, NONE), elem_classes="lab-about")
        gr.on([model.change, other.change], self._about, self.bar, note,
              api_visibility="private", **MODEL_WORK)  # fmt: skip

    def choices(self) -> tuple[list, list]:
        """What the two lists of models offer at this moment."""
        choices = self.models.choices()
        return choices, [("none", NONE), *choices]

    def _about(self, *names: str) -> str:
        """What is said of the chosen models, or why one can't be had."""

        def told(name: str) -> str:
            try:
                return about(self.models.get(name))
            except LabError as error:
                return f"**{error}**"

        return "\n\n".join(told(name) for name in names if name)

    def keep(self, name: str, control: Any) -> Any:
        """The address remembers this control's value under this name."""
        assert name not in self.kept, name
        self.kept[name] = control
        return control

    def close(self, demo: gr.Blocks) -> None:
        """After all layouts: write the address at each change, and read it when the page opens."""
        names, controls = json.dumps(list(self.kept)), list(self.kept.values())
        first = json.dumps([control.value for control in controls])
        changes = [control.change for control in controls]
        gr.on(changes, None, controls, js=f"(...now) => lab.remember({names}, {first}, now)")
        demo.load(None, controls, controls, js=f"(...now) => lab.restore({names}, now)")


def build(
    title: str,
    models: Models | None,
    lay_out: Callable[[Frame], None],
    folders: Folders | None = None,
) -> gr.Blocks:
    """A page of its own: header, one or more apps, and the address that remembers them."""
    frame = Frame(models or Models(), folders)
    # Every ten minutes, what visitors uploaded over two hours ago is deleted.
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(600, 7200)) as demo:
        frame.header()
        lay_out(frame)
        frame.close(demo)
    return demo


def of_each(frame: Frame, chosen: tuple[str, str], work: Callable[[DualEncoder], Any]) -> Any:
    """What `work` says of the model and of the one beside it, for a `pair` of panels.

    What a user can put right becomes {"error": a sentence} in that panel's place. Where no second
    model is chosen, its panel's value is None.
    """
    first, second = chosen

    def guarded(name: str) -> Any:
        try:
            return {"model": name if second else "", **work(frame.models.get(name))}
        except LabError as error:
            return {"error": str(error)}

    return guarded(first), guarded(second) if second else None
