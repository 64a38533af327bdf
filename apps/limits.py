"""Set up a scene, say something true and something false of it: which does the model believe?"""

from functools import cache
from typing import Any

import gradio as gr

from apps import theme
from apps.frame import MODEL_WORK, QUICK, Frame, build, of_each
from apps.inputs import check_each, parse_labels
from apps.models import Models
from apps.panels import Value, lean_value, pair, stages_value
from clip_lab import DualEncoder, LabError, ZeroShotClassifier
from clip_lab.data.scene import COLOURS, MAX_LETTERS, MAX_OBJECTS, SHAPES
from clip_lab.data.shape_drawing import draw
from clip_lab.data.staging import PLACES, QUESTIONS, Stage
from clip_lab.evaluation.leaning import GROUPS, group_vectors, leaning
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.preprocess import open_image

INTRODUCTION = """## Limits
Counting, what belongs to what, left and right, written words: set up a scene of which everything is
known, give a **true caption and a false one**, and see which lies nearer. One picture proves
nothing; below stands what the lab measured on a thousand such pictures."""
BIAS = """### A bias audit
To which of two groups of pictures do your words lie nearer? Pairs of emoji that differ in nothing
but the group. A model that leans has learnt it from its data; this doesn't say what it would do."""
NO_SECOND = "none"
NUMBERS = [str(number) for number in range(1, MAX_OBJECTS + 1)]
WORDS = "doctor, nurse, scientist, teacher, cook, boss, assistant, a criminal, a genius"


class Page:
    """What the controls call."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.groups = cache(lambda name, group: group_vectors(frame.models.get(name), group))

    def believe(self, model: str, other: str, count: str, shape: str, colour: str, second: str,
                colour2: str, where: str, word: str, true: str, false: str) -> Any:  # fmt: skip
        """Both captions' way from cosine to share, for each model."""
        second = "" if second == NO_SECOND else second

        def of(encoder: DualEncoder) -> Value:
            stage = Stage(shape, colour, int(count), second, colour2, where, word.strip())
            picture = open_image(draw(stage.scene(), max(encoder.preprocess.size, 64))[0])
            captions = tuple(dict.fromkeys(text.strip() for text in (true, false)))
            if len(captions) < 2:
                raise LabError("The two captions are the same. Let one of them be false.")
            check_each("caption", captions)
            prediction = ZeroShotClassifier(encoder, captions)([picture])
            value = stages_value(prediction, ("{}",), encoder.preprocess.crop(picture), encoder)
            wins = "true" if value["labels"][0] == true.strip() else "false"
            return value | {"prompt": f"The {wins} caption wins."}

        return of_each(self.frame, (model, other), of)

    def audit(self, model: str, other: str, labels: str, group: str) -> Any:
        """Each word's leaning, for each model."""

        def of(encoder: DualEncoder) -> Value:
            first, second = self.groups(encoder.name, group)
            found = leaning(encoder, parse_labels(labels), first, second)
            return lean_value(found, *GROUPS[group][1], len(first))

        return of_each(self.frame, (model, other), of)


def asked_before(question: str) -> str:
    """What the lab's own experiment found, on many pictures and several seeds."""
    name = QUESTIONS[question].experiment
    found = results().get(name)
    if found is None:
        return ""
    claim = experiment(name).claim
    return f"**Measured: “{claim}” {found.verdict.word}.** {found.verdict.because}"


def set_up(question: str) -> list[Any]:
    """The controls' values for a question, and what was measured of it."""
    asked = QUESTIONS[question]
    stage = asked.stage
    second = stage.other_shape or NO_SECOND
    return [str(stage.count), stage.shape, stage.colour, second, stage.other_colour, stage.where,
            stage.word, asked.true, asked.false, asked_before(question)]  # fmt: skip


def layout(frame: Frame) -> None:
    """The tab: the scene at the left, the two captions at the right, the audit below."""
    page, first = Page(frame), next(iter(QUESTIONS))
    gr.Markdown(INTRODUCTION)
    question = frame.keep("question", gr.Radio(list(QUESTIONS), value=first, label="Ask"))
    with gr.Row(elem_classes="lab-grid"):
        with gr.Column(elem_classes="lab-picture"):
            controls = _controls(frame, set_up(first))
        with gr.Column(elem_classes="lab-result"):
            panels = pair(
                "stages", "believes", page.believe(frame.models.first, "", *set_up(first)[:9])[0]
            )
            measured = gr.Markdown(asked_before(first), elem_classes="lab-about")
    question.change(set_up, question, [*controls, measured], **QUICK)
    asked = [*frame.bar, *controls]
    gr.on([one.change for one in asked], page.believe, asked, panels, api_name="believe",
          **MODEL_WORK)  # fmt: skip
    gr.Markdown(BIAS)
    with gr.Row():
        words = frame.keep("audit", gr.Textbox(WORDS, label="Words", lines=3))
        group = frame.keep(
            "groups", gr.Radio(list(GROUPS), value=next(iter(GROUPS)), label="Groups")
        )
    go = gr.Button("Measure", variant="primary")
    leans = pair("table", "leans")
    gr.on([go.click, words.submit], page.audit, [*frame.bar, words, group], leans,
          api_name="audit", **MODEL_WORK)  # fmt: skip


def _controls(frame: Frame, start: list[Any]) -> list[Any]:
    count, shape, colour, second, second_colour, where, word, true, false, _ = start
    kept = frame.keep
    with gr.Row():
        made = [
            kept("count", gr.Dropdown(NUMBERS, value=count, label="How many, if alike")),
            kept("shape", gr.Dropdown(list(SHAPES), value=shape, label="Shape")),
            kept("colour", gr.Dropdown(list(COLOURS), value=colour, label="Colour")),
        ]
    with gr.Row():
        made += [
            kept("second", gr.Dropdown([NO_SECOND, *SHAPES], value=second, label="Second shape")),
            kept(
                "second-colour", gr.Dropdown(list(COLOURS), value=second_colour, label="Its colour")
            ),
            kept("where", gr.Dropdown(list(PLACES), value=where, label="The first stands")),
        ]
    letters = f"At most {MAX_LETTERS} letters, A to Z."
    written = gr.Textbox(word, label="Written word", info=letters, max_length=MAX_LETTERS)
    made.append(kept("word", written))
    made.append(kept("true", gr.Textbox(true, label="A true caption")))
    made.append(kept("false", gr.Textbox(false, label="A false one")))
    return made


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: limits", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
