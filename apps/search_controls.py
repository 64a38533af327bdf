"""The Search tab's controls that need no function: a picture of one's own, options, filters."""

from typing import Any

import gradio as gr

from apps.frame import Frame
from apps.inputs import picture_box
from apps.search_values import MAX_RESULTS

# What the address calls each filter, and what the page does.
LISTS = {"search-group": "Group", "search-below": "In the folder, or below"}
DAYS = {"search-after": "Taken on or after", "search-before": "On or before"}
SIDES = {"search-from": "Longer side from (px)", "search-to": "Up to (px)"}


def picture_control() -> tuple[gr.Image, gr.Markdown]:
    """The box for a picture, and the line that says why one was refused."""
    picture = picture_box(
        label="Add a picture of yours to the query",
        sources=["upload", "clipboard", "webcam"],
        height=150,
        buttons=[],
        elem_id="search-picture",
        elem_classes="lab-picture-box",
    )
    return picture, gr.Markdown(visible=False, elem_classes="lab-about")


def options_controls(frame: Frame) -> tuple[list[Any], list[Any]]:
    """How many, how, and which may be found, in the order that `Page.search` takes them; and of
    these the two lists whose choices depend on the collection."""
    keep = frame.keep
    count = keep("search-results", gr.Slider(4, MAX_RESULTS, 24, step=4, label="How many"))
    way = "By a graph (HNSW): quicker among very many, may miss some."
    approximate = keep("search-approximate", gr.Checkbox(label="Approximate", info=way))
    with gr.Accordion("Filters", open=False):
        name = keep("search-name", gr.Textbox(label="The name contains"))
        lists = [keep(key, _list(label)) for key, label in LISTS.items()]
        with gr.Row():
            days = [keep(key, _day(label)) for key, label in DAYS.items()]
        with gr.Row():
            sides = [keep(key, _side(label)) for key, label in SIDES.items()]
    return [count, approximate, name, *lists, *days, *sides], lists


def _list(label: str) -> gr.Dropdown:
    return gr.Dropdown([("any", "")], value="", label=label, allow_custom_value=True)


def _day(label: str) -> gr.DateTime:
    return gr.DateTime(label=label, include_time=False, type="string")


def _side(label: str) -> gr.Number:
    return gr.Number(label=label, precision=0, minimum=0)
