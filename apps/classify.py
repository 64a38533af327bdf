"""Name what is in a picture, out of any words: CLIP's zero-shot classification, opened up.

The pattern for the lab's apps: `layout` lays out controls and calls tested functions; faults that
people can put right come back as a sentence in the page; what needs no model runs in the browser.
"""

from functools import lru_cache
from typing import Any

import gradio as gr
from torch import Tensor

from apps import theme
from apps.frame import MODEL_WORK, Frame, build, of_each
from apps.inputs import Upload, read_picture
from apps.models import Models
from apps.panels import SHOWN, Value, effects_value, heat_value, pair, stages_value
from apps.pictures import picture_with_samples
from apps.samples import Start, starting_point
from apps.words import wanted, words_column
from clip_lab import DualEncoder, ZeroShotClassifier
from clip_lab.evaluation.template_effects import template_effects
from clip_lab.interpret.occlusion import ALL_METHODS as METHODS

INTRODUCTION = """## Zero-shot classification
CLIP was never told which classes there are. Give it a picture and **your own words**: it turns both
into vectors, and the word whose vector lies nearest wins."""
ESTIMATE = "An estimate, not a fact: methods differ. Each map has its own range of colours."


class Page:
    """What the page's controls call. It keeps the last classifiers: another picture with the same
    labels needs no text read again."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.classifier = lru_cache(maxsize=8)(self._classifier)

    def _classifier(self, name: str, labels: tuple[str, ...], templates: tuple[str, ...]) -> Any:
        return ZeroShotClassifier(self.frame.models.get(name), labels, templates, progress=True)

    def classify(self, picture: Upload | None, labels: str, none: bool, template: str, own: str,
                 model: str, other: str,
                 progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Any:  # noqa: B008  # fmt: skip
        """Both models' stages."""

        def of(encoder: DualEncoder) -> Value:
            opened, (texts, templates) = read_picture(picture), wanted(labels, none, template, own)
            prediction = self.classifier(encoder.name, texts, templates)([opened])
            seen = encoder.preprocess.crop(opened)
            return stages_value(prediction, templates, seen, encoder)

        return of_each(self.frame, (model, other), of)

    def first(self, start: Start) -> Value:
        """Shown while the page opens, before anything was asked."""
        labels, templates = wanted(start.labels, False, "bare name", "")
        encoder = self.frame.models.get(self.frame.models.first)
        picture = start.samples[0].picture
        prediction = self.classifier(encoder.name, labels, templates)([picture])
        return stages_value(prediction, templates, encoder.preprocess.crop(picture), encoder)

    def effects(self, picture: Upload | None, *asked: Any) -> Any:
        """What each template does, among the labels that are drawn."""
        *words, model, other = asked

        def of(encoder: DualEncoder) -> Value:
            vector = encoder.encode_images([read_picture(picture)])[0]
            near, templates = self._best(encoder, vector, words, SHOWN)
            return effects_value(near, *template_effects(encoder, vector, near, templates))

        return of_each(self.frame, (model, other), of)

    def where(self, picture: Upload | None, *asked: Any) -> Any:
        """Heat maps of the four best labels."""
        *words, model, other, method = asked

        def of(encoder: DualEncoder) -> Value:
            opened = read_picture(picture)
            names, _ = self._best(encoder, encoder.encode_images([opened])[0], words, 4)
            maps = METHODS[method](encoder, [opened], names)[0].numpy()
            return heat_value(names, list(maps), encoder.preprocess.crop(opened), ESTIMATE)

        return of_each(self.frame, (model, other), of)

    def _best(self, encoder: DualEncoder, vector: Tensor, words: Any, count: int) -> Any:
        labels, templates = wanted(*words)
        found = self.classifier(encoder.name, labels, templates).predict(vector[None])
        return [label for label, _ in found.top(count)[0]], templates


def layout(frame: Frame) -> None:
    """The tab: picture and words at the left, what was found at the right."""
    page, start = Page(frame), starting_point(frame.models.first)
    gr.Markdown(INTRODUCTION)
    with gr.Row(elem_classes="lab-grid"):  # placed by the style sheet, also on a phone
        with gr.Column(elem_classes="lab-picture"):
            picture = picture_with_samples(frame, "sample")
        with gr.Column(elem_classes="lab-result"):
            stages = pair("stages", "stages", page.first(start))
            with gr.Row(elem_classes="lab-more"):
                closer = gr.Button("Each template's part", size="sm")
                place = gr.Button("Where in the picture?", size="sm")
                method = gr.Dropdown(list(METHODS), value=next(iter(METHODS)), show_label=False,
                                     label="Method of the heat map", container=False)  # fmt: skip
            tables, maps = pair("table", "templates"), pair("heat", "where")
        with gr.Column(elem_classes="lab-words"):
            words = words_column(frame)
    asked: list[Any] = [picture, *words, *frame.bar]
    raw: dict[str, Any] = {"preprocess": False, **MODEL_WORK}  # uploads reach our opener untouched
    found = gr.on([one.change for one in asked], page.classify, asked, stages,
                  api_name="classify", **raw)  # fmt: skip
    # What was looked at more closely before is cleared, in the page: Gradio's front end takes
    # its time for each output of the server's.
    found.then(None, None, [*tables, *maps], js="() => [null, null, null, null]")
    closer.click(page.effects, asked, tables, api_name="templates", **raw)
    gr.on([place.click, method.input], page.where, [*asked, method], maps, api_name="where", **raw)


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: zero-shot", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
