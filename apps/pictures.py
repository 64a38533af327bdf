"""A picture of one's own or a sample: the box, the samples beside it, and what joins them."""

from typing import Any

import gradio as gr
from PIL import Image

from apps.frame import QUICK, Frame
from apps.inputs import picture_box
from apps.panels import samples_panel, samples_value
from apps.samples import starting_point

NO_SAMPLE = -1
# The sample's picture as the page has it; an upload stays where it is.
SAMPLE = """(number, samples, picture) => samples[number]
    ? {path: null, url: samples[number].src, orig_name: samples[number].name,
       meta: {_type: "gradio.FileData"}}
    : picture"""


def picture_with_samples(frame: Frame, name: str, chosen: int = 0) -> gr.Image:
    """The column's controls; the address remembers the sample's number under `name`."""
    model, samples = frame.bar[0], starting_point(frame.models.first).samples
    grid = samples_panel(samples, [chosen], elem_id=f"{name}-samples")
    number = frame.keep(name, gr.Number(chosen, visible=False, precision=0))
    picture = picture_box(
        samples[chosen].picture,
        label="The picture: upload, drop, paste, or use the camera",
        sources=["upload", "clipboard", "webcam"],
        height=200,
        buttons=[],
        alt_text="The chosen picture",
        elem_id=f"{name}-picture",
        elem_classes="lab-picture-box",
    )
    grid.click(None, None, number, js="() => lab.sample")
    gr.on([picture.upload, picture.clear], None, None, number, js=f"() => {NO_SAMPLE}")
    # In the page alone: a way to the server and back for each would be felt.
    number.change(None, [number, grid, picture], picture, js=SAMPLE)
    number.change(None, number, js=f"(n) => lab.press('#{name}-samples', n)")
    model.change(_follow, [model, number], [grid, picture], **QUICK)
    return picture


def _follow(model: str, number: int) -> tuple[Any, Image.Image | Any]:
    """Another model has other samples, and the same number of them; an upload stays."""
    samples = starting_point(model).samples
    chosen = samples[number].picture if 0 <= number < len(samples) else gr.skip()
    return samples_value(samples, [number]), chosen
