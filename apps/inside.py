"""Look inside: which places of a picture a text is about, and what each head of attention sees."""

from typing import Any

import gradio as gr

from apps import theme
from apps.frame import MODEL_WORK, Frame, build, of_each
from apps.inputs import MAX_LABEL_LENGTH, Upload, read_picture
from apps.models import Models
from apps.panels import Value, heat_value, pair
from apps.pictures import picture_with_samples
from apps.samples import starting_point
from clip_lab import DualEncoder, LabError
from clip_lab.interpret.attention import attention_maps, pool_attention
from clip_lab.interpret.occlusion import ALL_METHODS
from clip_lab.model.resnet import ModifiedResNet

INTRODUCTION = """## Look inside
**Where is what you say?** Five methods answer, and they disagree: each map is an estimate, with its
own range of colours. Covering parts of the picture always works, the others need patches."""
ATTENTION = """### What the heads look at
Attention says where a vector's parts come from. It doesn't say that they mattered."""
HEADS = {
    "pool": "The attention pooling's heads: where the last question of a ResNet looks. "
    "{side} × {side} places are all that is left of the picture there.",
    "layer": "Layer {layer} of {layers}: where the class token looks, head by head.",
}
# Takes off what all texts have in common, so it is asked with the samples' names as well.
AMONG_OTHERS = "CLIP Surgery"
FIRST_LAYER, LAST_LAYER = 1, 48  # the largest published towers have 48


def where(encoder: DualEncoder, picture: Upload | None, text: str) -> Value:
    """Every method's map for one text; those that this model can't have are named below."""
    opened = read_picture(picture)
    text = (text or "").strip()[:MAX_LABEL_LENGTH]
    if not text:
        raise LabError("Say what to look for, in a word or a sentence.")
    others = [one.name for one in starting_point(encoder.name).samples if one.name != text]
    titles, maps, missing = [], [], []
    for name, method in ALL_METHODS.items():
        try:
            texts = [text, *others] if name == AMONG_OTHERS else [text]
            maps.append(method(encoder, [opened], texts)[0, 0].float().numpy())
            titles.append(name)
        except LabError as error:
            missing.append(f"{name}: {error}")
    note = " ".join([f"“{text}”, by {len(maps)} methods.", *missing[:1]])
    return heat_value(titles, maps, encoder.preprocess.crop(opened), note)


def heads(encoder: DualEncoder, picture: Upload | None, layer: int) -> Value:
    """Each head of one layer, or of a ResNet's only attention."""
    opened = read_picture(picture)
    if isinstance(encoder.model.visual, ModifiedResNet):
        maps = pool_attention(encoder, [opened])[0].numpy()
        note = HEADS["pool"].format(side=maps.shape[-1])
    else:
        layers = attention_maps(encoder, [opened])[0]  # (layers, heads, tokens, tokens)
        chosen = min(max(int(layer), 1), len(layers))
        shares = layers[chosen - 1, :, 0, 1:].numpy()  # the class token's, in the patches
        side = round(shares.shape[1] ** 0.5)
        maps = shares.reshape(len(shares), side, side)
        note = HEADS["layer"].format(layer=chosen, layers=len(layers))
    titles = [f"head {number}" for number in range(1, len(maps) + 1)]
    return heat_value(titles, list(maps), encoder.preprocess.crop(opened), note)


def layout(frame: Frame) -> None:
    """The tab: picture and text at the left, maps at the right."""
    gr.Markdown(INTRODUCTION)
    with gr.Row(elem_classes="lab-grid"):
        with gr.Column(elem_classes="lab-picture"):
            picture = picture_with_samples(frame, "inside")
        with gr.Column(elem_classes="lab-result"):
            places = pair("heat", "places")
            gr.Markdown(ATTENTION)
            attention = pair("heat", "heads")
        with gr.Column(elem_classes="lab-words"):
            first = starting_point(frame.models.first).samples[0].name
            text = frame.keep("look-for", gr.Textbox(first, label="What to look for"))
            layer = frame.keep("layer", gr.Slider(
                FIRST_LAYER, LAST_LAYER, FIRST_LAYER, step=1, label="Layer of a Vision Transformer"
            ))  # fmt: skip
            go = gr.Button("Look", variant="primary")

    def both(model: str, other: str, picture: Upload | None, text: str, layer: int) -> Any:
        chosen = (model, other)
        return (
            *of_each(frame, chosen, lambda encoder: where(encoder, picture, text)),
            *of_each(frame, chosen, lambda encoder: heads(encoder, picture, layer)),
        )

    asked = [*frame.bar, picture, text, layer]
    gr.on([go.click, text.submit, picture.change, layer.release], both, asked,
          [*places, *attention], preprocess=False, api_name="inside", **MODEL_WORK)  # fmt: skip


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: inside", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
