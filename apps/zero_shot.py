"""Name what is in a picture, out of any words: CLIP's zero-shot classification, opened up.

The pattern for the lab's apps: `build_demo` lays out controls and calls tested functions; faults
that people can put right come back as a sentence in the page; what needs no model runs in the
browser.
"""

from functools import lru_cache
from typing import Any

import gradio as gr
from PIL import Image

import clip_lab
from apps import theme
from apps.inputs import OWN, Upload, choose_templates, parse_labels, picture_box, read_picture
from apps.panels import Value, about, in_words, samples_panel, stages_panel, stages_value
from apps.samples import starting_point
from clip_lab import DualEncoder, ZeroShotClassifier
from clip_lab.preprocess import open_image
from clip_lab.zero_shot import TEMPLATES

INTRODUCTION = """## Zero-shot classification
CLIP was never told which classes there are. Give it a picture and **your own words**: it turns both
into vectors, and the word whose vector lies nearest wins."""
LABELS_INFO = "One a line, or with commas between on a single line. Any words, in any number."
OWN_INFO = "One a line, each with {} where the label belongs."
# For listeners that need no model: answered at once, beside the queue.
QUICK: Any = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# The picture is no longer a sample's: no sample stays marked as chosen.
UNPRESS = """() => {
  for (const one of document.querySelectorAll('.sample')) one.setAttribute('aria-pressed', 'false');
}"""


class Page:
    """What the page's controls call. One a page: it holds the model and the last classifiers."""

    def __init__(self, encoder: DualEncoder):
        self.encoder = encoder
        self.samples, self.sets = starting_point(encoder.name)
        # Another picture with the same labels: the texts need not be read again.
        self.classifier = lru_cache(maxsize=8)(self._classifier)

    def _classifier(
        self, labels: tuple[str, ...], templates: tuple[str, ...]
    ) -> ZeroShotClassifier:
        return ZeroShotClassifier(self.encoder, labels, templates, progress=True)

    def stages(self, picture: Image.Image, label_text: str, template: str, own: str) -> Value:
        labels = parse_labels(label_text)
        templates = choose_templates(template, own, labels)
        prediction = self.classifier(labels, templates)([picture])
        return stages_value(prediction, templates, self.encoder.preprocess.crop(picture))

    @in_words
    def classify(
        self,
        picture: Upload | None,
        labels: str,
        template: str,
        own: str,
        progress: gr.Progress = gr.Progress(track_tqdm=True),  # noqa: B008  (Gradio fills it in)
    ) -> Value:
        return self.stages(read_picture(picture), labels, template, own)

    def take_sample(self, event: gr.EventData) -> Image.Image:
        return self.samples[event.index].picture  # pyright: ignore[reportAttributeAccessIssue]


def build_demo(encoder: DualEncoder | None = None) -> gr.Blocks:
    """The page. `encoder` defaults to the built-in emoji model. Launch it with `theme.launch`."""
    page = Page(encoder or clip_lab.load("emoji"))
    with gr.Blocks(title="CLIP Lab: zero-shot", analytics_enabled=False) as demo:
        gr.Markdown(INTRODUCTION)
        with gr.Row(elem_classes="lab-grid"):  # placed by the style sheet, also on a phone
            picture = _picture_column(page)
            result = _result_column(page)
            words = _words_column(page)
        inputs: list[Any] = [picture, *words]
        gr.on(
            [one.change for one in inputs],
            page.classify,
            inputs,
            result,
            preprocess=False,  # uploads reach our own opener untouched
            concurrency_id=theme.MODEL_WORK,
            trigger_mode="always_last",
            api_name="classify",
        )
    return demo


def _picture_column(page: Page) -> gr.Image:
    with gr.Column(elem_classes="lab-picture"):
        grid = samples_panel(page.samples)
        picture = picture_box(
            page.samples[0].picture,
            label="The picture: upload, drop or paste your own",
            sources=["upload", "clipboard"],
            height=180,
            buttons=[],
            alt_text="The chosen picture",
            elem_id="picture",
        )
        grid.click(page.take_sample, None, picture, **QUICK)
        gr.on([picture.upload, picture.clear], js=UNPRESS)
    return picture


def _result_column(page: Page) -> gr.HTML:
    first = open_image(page.samples[0].picture)
    labels = next(iter(page.sets.values()))
    with gr.Column(elem_classes="lab-result"):
        result = stages_panel(page.stages(first, labels, "bare name", ""), elem_id="stages")
        gr.Markdown(about(page.encoder), elem_classes="lab-about")
    return result


def _words_column(page: Page) -> tuple[gr.Textbox, gr.Radio, gr.Textbox]:
    with gr.Column(elem_classes="lab-words"):
        first = next(iter(page.sets))
        labels = gr.Textbox(
            page.sets[first], label="Labels", info=LABELS_INFO, lines=5, max_lines=9,
            elem_id="labels",
        )  # fmt: skip
        whole = gr.Dropdown(list(page.sets), value=first, label="Take a whole list")
        template = gr.Radio(
            [*TEMPLATES, OWN], value="bare name", label="Template: the label in a sentence"
        )
        own = gr.Textbox(
            "a drawing of {}", label="Your templates", info=OWN_INFO, lines=2, visible=False
        )
        whole.input(page.sets.get, whole, labels, **QUICK)
        template.input(lambda name: gr.update(visible=name == OWN), template, own, **QUICK)
    return labels, template, own


if __name__ == "__main__":
    theme.launch(build_demo())
