"""Find pictures by words, by pictures, by both: among emoji, shapes, or one's own photographs."""

from typing import Any

import gradio as gr

from apps import theme
from apps.folders import Folders
from apps.frame import MODEL_WORK, QUICK, Frame, build
from apps.inputs import Upload
from apps.models import Models
from apps.panels import pair, panel
from apps.query_parts import terms_value, with_picture, with_row
from apps.search_controls import options_controls, picture_control
from apps.search_page import BUILT_IN, FOLDER, Page
from apps.search_values import stopped_value
from clip_lab import LabError

INTRODUCTION = """## Search
Nobody has tagged these pictures. Words and pictures become vectors in **one space**, and what lies
nearest is found. Directions add up: take a picture, add words, subtract others."""
FOLDER_INFO = (
    "The folder and all below it; nothing hidden, no links. Each picture is read once and becomes "
    "a vector in the lab's cache; your folder stays as it is."
)
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def written(event: gr.EventData) -> str:
    """The query as its panel has it now."""
    return event.query  # pyright: ignore[reportAttributeAccessIssue]


def clicked(query: str, event: gr.EventData) -> str:
    """A result is the new query, or is added or subtracted."""
    e: Any = event
    return with_row(query, e.act, row=e.row, of=e.of, name=e.name)


def uploaded(query: str, picture: Upload | None) -> Any:
    """The picture joins the query, and its box is free for another."""
    if not picture:
        return gr.skip(), gr.skip(), gr.skip()
    try:
        return with_picture(query, picture), None, gr.update(visible=False)
    except LabError as error:
        return gr.skip(), None, gr.update(value=f"**{error}**", visible=True)


def layout(frame: Frame) -> None:
    """The tab: what is looked for and where, at the left; what was found, at the right."""
    page, shapes = Page(frame), frame.models.first.startswith("shapes")
    start, place = ("three red circles", "shapes") if shapes else ("red fruit", "emoji-noto")
    places = [(shown, name) for name, shown in BUILT_IN.items()]
    places += [("A folder of pictures", FOLDER)] if frame.folders else []
    gr.Markdown(INTRODUCTION)
    with gr.Row(elem_classes="lab-grid lab-grid-wide"):
        with gr.Column(elem_classes="lab-picture"):
            terms = panel("terms", terms_value(start, place), elem_id="terms")
            query = frame.keep("search", gr.Textbox(start, visible=False))
            where = frame.keep("search-in", gr.Dropdown(places, value=place, label="Search in"))
            path, due = _folder(frame, page, where)
        with gr.Column(elem_classes="lab-result search-results"):
            panels = pair("search", "found", {"hits": [], "told": "Looking …"})
        with gr.Column(elem_classes="lab-words"):
            picture, refused = picture_control()
            options, named = options_controls(frame)
    for grid in panels:
        grid.click(clicked, query, query, **QUICK)
    terms.input(written, None, query, **QUICK)
    gr.on([query.change, where.change], terms_value, [query, where], terms, **QUICK)
    raw: dict[str, Any] = {"preprocess": False}  # values and uploads as the page sends them
    picture.change(uploaded, [query, picture], [query, picture, refused], **raw, **HIDDEN)
    # From a tab that nobody has opened no model is asked: the panel tells when it is first seen.
    begun = [panels[0].select, path.submit, due.change]
    asked = [*frame.bar, query, where, path, *options]
    again = [one.change for one in (*frame.bar, query, where, *options)]
    gr.on([*begun, *again], page.search, asked, panels, api_name="search", **raw, **MODEL_WORK)
    gr.on([*begun, where.change], page.choices, [frame.bar[0], where, path], named,
          **raw, **HIDDEN, **MODEL_WORK)  # fmt: skip


def _folder(frame: Frame, page: Page, where: gr.Dropdown) -> Any:
    """A folder's path and its index; returns the path, and what changes when it is another one."""
    names = frame.folders.names
    with gr.Group(visible="hidden", elem_classes="search-folder") as group:
        path = frame.keep("search-folder", gr.Textbox(
            names[0] if names else "", label="Folder: " + (", ".join(names) or "its path"),
            info=FOLDER_INFO, elem_id="search-path",
        ))  # fmt: skip
        with gr.Row():
            update = gr.Button("Index or update", variant="primary", size="sm")
            remove = gr.Button("Remove the index", size="sm", visible=frame.folders.any_folder)
        status = panel("indexing", elem_id="indexing")
    where.change(lambda name: gr.update(visible=name == FOLDER or "hidden"), where, group,
                      **QUICK)  # fmt: skip
    due = gr.Number(0, visible=False)
    if not frame.folders:
        return path, due
    asked = [*frame.bar, path]
    run = update.click(page.index, asked, status, api_name="index", concurrency_id="index",
                       trigger_mode="multiple", show_progress="hidden")  # fmt: skip
    stop = status.stop(stopped_value, status, status, cancels=[run], **QUICK)
    gone = remove.click(page.remove, asked, status, api_name="remove_index", **MODEL_WORK)
    for end in (run, stop, gone):
        end.then(lambda number: number + 1, due, due, **QUICK)
    return path, due


def build_demo(models: Models | None = None, folders: Folders | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: search", models, layout, folders)


if __name__ == "__main__":
    theme.launch(build_demo(folders=Folders(any_folder=True)))
