"""Labels and templates: the controls, and what they say."""

from typing import Any

import gradio as gr

from apps.frame import QUICK, Frame
from apps.inputs import OWN, choose_templates, parse_labels
from apps.samples import starting_point
from clip_lab.pretrained import names
from clip_lab.zero_shot import TEMPLATES

LABELS_INFO = "One a line, or with commas between on a single line. Any words, in any number."
OWN_INFO = "One a line, each with {} where the label belongs."
NONE_OF_THESE = "none of these"


def words_column(frame: Frame) -> list[Any]:
    """Labels, “none of these”, the set of templates and one's own: what `wanted` reads."""
    model, start = frame.bar[0], starting_point(frame.models.first)
    labels = frame.keep("labels", gr.Textbox(
        start.labels, label="Labels", info=LABELS_INFO, lines=5, max_lines=9, elem_id="labels"
    ))  # fmt: skip
    none = frame.keep("none", gr.Checkbox(label=f"Add a label “{NONE_OF_THESE}”"))
    whole = gr.Dropdown(list(start.lists), value=next(iter(start.lists)), label="Take a whole list")
    template = frame.keep("template", gr.Radio(
        [*TEMPLATES, OWN], value="bare name", label="Template: the label in a sentence"
    ))  # fmt: skip
    own = frame.keep("own", gr.Textbox(
        "a drawing of {}", label="Your templates", info=OWN_INFO, lines=2, visible="hidden"
    ))  # fmt: skip
    whole.input(lambda of, name: starting_point(of).lists.get(name, gr.skip()), [model, whole],
                labels, **QUICK)  # fmt: skip
    template.change(lambda name: gr.update(visible=name == OWN or "hidden"), template, own, **QUICK)
    model.change(_lists, [model, labels], [whole, labels], **QUICK)
    return [labels, none, template, own]


def _lists(model: str, labels: str) -> Any:
    """Another model brings other lists of labels; one's own labels stay."""
    start = starting_point(model)
    untouched = any(labels in starting_point(name).lists.values() for name in names())
    first = next(iter(start.lists))
    return gr.update(choices=list(start.lists), value=first), start.labels if untouched else labels


def wanted(labels: str, none: bool, template: str, own: str) -> tuple[tuple[str, ...], ...]:
    """Labels and templates as the controls say them."""
    texts = parse_labels(labels) + ((NONE_OF_THESE,) if none else ())
    texts = tuple(dict.fromkeys(texts))
    return texts, choose_templates(template, own, texts)
