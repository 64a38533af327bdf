"""The embedding space as a map: pictures and texts, what is really near, and one's own among it."""

from collections import deque
from typing import Any

import gradio as gr

from apps import theme
from apps.frame import MODEL_WORK, QUICK, Frame, build, of_each
from apps.inputs import MAX_PICTURES, Upload, pictures_box
from apps.map_values import (
    columns,
    content_value,
    map_value,
    near_value,
    own_things,
    settings,
    sheet,
)
from apps.models import Models
from apps.panels import Value, panel
from clip_lab import DualEncoder
from clip_lab.map_collections import KEPT_MAPS, ModelMap, map_of

INTRODUCTION = """## The embedding space
Every dot is a picture, every diamond a text, each where the model puts it. **A map shows two or
three of several hundred dimensions**, so click a point to see what is *really* near."""
VIEWS = [("gap axes", "gap"), ("principal components", "pca"), ("UMAP", "umap")]
OPENING, UNPICKED = {"waiting": "Opening the map …"}, {"item": ""}
# Nothing is worked out while the tab isn't seen: the panel asks once it is.
STALE = "() => labMap.stale()"


def tell(key: str) -> dict[str, str]:
    """A listener in the browser that hands a control's value to the panels."""
    return {"js": f"(value) => labMap.set('{key}', value)"}


class Page:
    """What the page's controls call. It keeps the last maps: a model's fingerprint takes time."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.kept: deque[tuple[DualEncoder, str, ModelMap]] = deque(maxlen=2 * KEPT_MAPS)

    def beside(self, model: str, encoder: DualEncoder) -> ModelMap:
        """This encoder's map of the collection that goes with the first model."""
        first = self.map_of(self.frame.models.get(model))
        return self.map_of(encoder, first.content.name)

    def map_of(self, encoder: DualEncoder, collection: str = "") -> ModelMap:
        for known, asked, here in self.kept:
            if known is encoder and asked == collection:
                return here
        here = map_of(encoder, collection or None)
        self.kept.append((encoder, collection, here))
        return here

    def show(self, model: str, other: str, view: str, dimensions: Any, share: Any,
             files: list[Upload] | None, text: str, colour: str,
             progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Any:  # noqa: B008  # fmt: skip
        """Both models' maps, and by what they may be coloured."""

        def of(encoder: DualEncoder) -> Value:
            own, here = own_things(files, text), self.beside(model, encoder)
            if view == "umap" and not here.is_shipped:
                progress(None, desc="UMAP lays the points out, which takes about a minute")
            return map_value(here, view, *settings(dimensions, share), own)

        maps = of_each(self.frame, (model, other), of)
        choices = columns(maps[0].get("collection", "emoji"))
        known = any(key == colour for _, key in choices)
        # Its value is told only where it must change: the address may just be setting another.
        told = gr.update(choices=choices)
        return *maps, told if known else {**told, "value": "group"}

    def near(self, item: str, model: str, other: str, view: str, dimensions: Any, share: Any,
             files: list[Upload] | None, text: str,
             progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Any:  # noqa: B008  # fmt: skip
        """Both models' true neighbours of the item that was clicked, once one was."""

        def of(encoder: DualEncoder) -> Value:
            own, here = own_things(files, text), self.beside(model, encoder)
            return near_value(here, view, *settings(dimensions, share), own, item)

        return of_each(self.frame, (model, other), of) if item else (UNPICKED, None)


def controls(frame: Frame) -> list[Any]:
    """View, dimensions and share of the gap, in a row; what is the visitor's own, under it."""
    with gr.Row(elem_classes="map-controls"):
        view = gr.Radio(VIEWS, value="gap", label="View", elem_id="map-view")
        dimensions = gr.Radio([("2-d", 2), ("3-d", 3)], value=2, label="Dimensions",
                              elem_id="map-dimensions")  # fmt: skip
        colour = gr.Dropdown(
            columns("emoji"), value="group", label="Colour by", elem_id="map-colour"
        )
        find = gr.Textbox("", label="Find by name", placeholder="in any language",
                          elem_id="map-find")  # fmt: skip
        share = gr.Slider(0, 1, 0, step=0.01, label="Close the modality gap", elem_id="map-gap",
                          info="½: the means meet. 1: they have changed sides.")  # fmt: skip
    for key, control in (("colour", colour), ("find", find)):
        frame.keep(f"map_{key}", control).change(None, control, **tell(key))
    view.change(lambda name: gr.update(interactive=name != "umap"), view, share, **QUICK)
    named = {"map": view, "map_dims": dimensions, "map_gap": share}
    return [*(frame.keep(key, control) for key, control in named.items()), colour]


def layout(frame: Frame) -> None:
    """The tab: controls on top, the map, its true neighbours beside it, its points under it."""
    page = Page(frame)
    gr.Markdown(INTRODUCTION)
    *viewed, colour = controls(frame)
    with gr.Row(elem_classes="map-grid"):
        maps = [
            panel("map", OPENING, elem_id="map-plot", of="first",
                  server_functions=[content_value, sheet]),
            panel("map", elem_id="map-plot-other", of="second"),
        ]  # fmt: skip
        close = [panel("map_near", UNPICKED, elem_id="map-near", of="first"),
                 panel("map_near", elem_id="map-near-other", of="second")]  # fmt: skip
        with gr.Row(elem_classes="map-own"):
            text = frame.keep("map_texts", gr.Textbox(
                "", label="Your own texts on the map", lines=3, max_lines=6, elem_id="map-texts",
                info=f"One a line, at most {MAX_PICTURES}; they stay until you remove them.",
            ))  # fmt: skip
            files = pictures_box(
                label="Your own pictures on the map", height=130, elem_id="map-files"
            )
        panel("map_points", {}, elem_id="map-points")
    item = frame.keep("map_item", gr.Textbox("", visible=False))
    asked = [*frame.bar, *viewed, files, text]
    raw: dict[str, Any] = {"preprocess": False, **MODEL_WORK}  # uploads reach our opener untouched
    gr.on([one.change for one in asked], None, None, js=STALE)
    maps[0].picked(None, None, item, js="() => labMap.state.item")
    item.change(None, item, js="(item) => labMap.arrived(item)")
    maps[0].asked(page.near, [item, *asked], close, api_name="near", **raw)
    shown = maps[0].wanted(page.show, [*asked, colour], [*maps, colour], api_name="map",
                           show_progress_on=maps, **raw)  # fmt: skip
    shown.then(page.near, [item, *asked], close, api_visibility="private", **raw)


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: the map", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
