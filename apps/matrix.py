"""Pictures against captions: the matrix that CLIP is trained on, with its loss, to take apart."""

import gradio as gr

from apps import theme
from apps.frame import MODEL_WORK, QUICK, Frame, build, of_each
from apps.inputs import MAX_PICTURES, Upload, parse_lines, pictures_box, read_pictures
from apps.models import Models
from apps.panels import Value, matrix_value, pair, samples_panel, samples_value
from apps.samples import starting_point
from clip_lab import DualEncoder
from clip_lab.evaluation.similarity import similarity_matrix

INTRODUCTION = """## The similarity matrix
A batch of pictures and their captions: every picture meets every caption. Training pulls the
**diagonal** up and pushes all else down. Swap captions, edit them, turn normalisation off, and see
what becomes of the loss."""
FIRST = "0,1,2,3,4,5"


def matrix(
    model: str, other: str, frame: Frame, chosen: str, own: list[Upload] | None, text: str
) -> tuple[Value, Value | None]:
    """Both models' matrices of the chosen samples, then one's own pictures, and the captions."""

    def of(encoder: DualEncoder) -> Value:
        samples = starting_point(model).samples
        named = [(samples[i].picture, samples[i].name) for i in numbers(chosen, len(samples))]
        named += [(picture, f"your picture {i}") for i, picture in enumerate(read_pictures(own), 1)]
        captions = parse_lines(text, MAX_PICTURES)
        found = similarity_matrix(encoder, [picture for picture, _ in named], captions)
        return matrix_value(found, named, captions, encoder)

    return of_each(frame, (model, other), of)


def numbers(text: str, below: int) -> list[int]:
    """Which samples are chosen, as the address writes it."""
    parts = text[:1000].split(",")
    found = (int(part) for part in parts if part.isascii() and part.isdigit())
    return [number for number in dict.fromkeys(found) if number < below][:MAX_PICTURES]


def toggle(text: str, event: gr.EventData) -> str:
    """A click takes a sample in, or out if it was in."""
    index = event.index  # pyright: ignore[reportAttributeAccessIssue]
    chosen = numbers(text, index + 10_000)
    chosen = [i for i in chosen if i != index] if index in chosen else [*chosen, index]
    return ",".join(map(str, chosen))


def named_captions(model: str, chosen: str) -> str:
    """The chosen samples' own names, one a line."""
    samples = starting_point(model).samples
    return "\n".join(samples[i].name for i in numbers(chosen, len(samples)))


def layout(frame: Frame) -> None:
    """The tab: what goes in at the left, the matrix at the right."""
    model, start = frame.bar[0], starting_point(frame.models.first)
    gr.Markdown(INTRODUCTION)
    with gr.Row(elem_classes="lab-grid lab-grid-wide"):
        with gr.Column(elem_classes="lab-picture"):
            grid = samples_panel(start.samples, range(6), elem_id="matrix-samples")
            chosen = frame.keep("pictures", gr.Textbox(FIRST, visible=False))
        with gr.Column(elem_classes="lab-result"):
            first = matrix(frame.models.first, "", frame, FIRST, None,
                           named_captions(frame.models.first, FIRST))[0]  # fmt: skip
            panels = pair("matrix", "matrix", first)
        with gr.Column(elem_classes="lab-words"):
            captions = frame.keep("captions", gr.Textbox(
                named_captions(frame.models.first, FIRST), label="Captions", lines=6, max_lines=12,
                info=f"One a line, at most {MAX_PICTURES}, in the order of the pictures.",
            ))  # fmt: skip
            names = gr.Button("Take the samples' own names", size="sm")
            own = pictures_box(label="Your own pictures", height=120)
    grid.click(toggle, chosen, chosen, **QUICK)
    chosen.change(None, chosen, js="(text) => lab.press('#matrix-samples', lab.list(text))")
    gr.on([names.click, model.change], named_captions, [model, chosen], captions, **QUICK)
    model.change(
        lambda name, text: samples_value(starting_point(name).samples, numbers(text, 12)),
        [model, chosen],
        grid,
        **QUICK,
    )
    asked = [*frame.bar, chosen, own, captions]
    gr.on([one.change for one in asked],
          lambda model, other, *rest: matrix(model, other, frame, *rest), asked, panels,
          preprocess=False, api_name="matrix", **MODEL_WORK)  # fmt: skip


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: the matrix", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
