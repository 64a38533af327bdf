"""Parts of a page that Gradio doesn't have. Their markup and behaviour lie in `static/`.

Each is a `gr.HTML` with a plain JSON value: None hides it, {"error": sentence} says what was wrong.
"""

import base64
import io
from collections.abc import Sequence
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from apps.samples import Sample
from apps.theme import asset
from clip_lab import DualEncoder
from clip_lab.evaluation.leaning import Lean
from clip_lab.evaluation.similarity import Similarity
from clip_lab.evaluation.template_effects import TemplateEffect
from clip_lab.experiments.moments import Moment
from clip_lab.zero_shot import Prediction, fill

SHOWN = 20  # labels drawn, of however many

Value = dict[str, Any]


def panel(name: str, value: Any = None, **options: Any) -> gr.HTML:
    """The panel whose files in `static/` have this name."""
    return gr.HTML(
        value,
        html_template=asset(f"{name}.html"),
        js_on_load=asset(f"{name}.js"),
        apply_default_css=False,
        elem_classes="lab-panel-box",
        **options,
    )


def pair(name: str, elem_id: str, first: Any = None) -> list[gr.HTML]:
    """Two panels of a kind, for a model and the one that it is compared with."""
    return [panel(name, first, elem_id=elem_id), panel(name, elem_id=f"{elem_id}-other")]


def samples_panel(
    samples: Sequence[Sample], pressed: Sequence[int] = (), **options: Any
) -> gr.HTML:
    """A grid of sample pictures. A click triggers `click` with the sample's `index`."""
    return panel("samples", samples_value(samples, pressed), **options)


def samples_value(samples: Sequence[Sample], pressed: Sequence[int] = ()) -> list[Value]:
    """What the grid of samples draws; `pressed`: the numbers of those that are chosen."""
    return [
        {
            "src": data_address(sample.picture, lossless=True),
            "name": sample.name,
            "style": sample.style,
            "mark": sample.mark,
            "pressed": "true" if number in pressed else "false",
        }
        for number, sample in enumerate(samples)
    ]


def stages_value(
    prediction: Prediction, templates: Sequence[str], seen: Image.Image, encoder: DualEncoder
) -> Value:
    """Cosine, logit and probability of the first picture of a prediction, for `stages`.

    All cosines, best first, but only the best labels' names. `seen`: the picture as the model sees
    it, drawn beside the result.
    """
    cosines = prediction.cosines[0]
    order = np.argsort(-cosines, kind="stable")
    labels = [prediction.labels[i] for i in order[:SHOWN]]
    return {
        "labels": labels,
        "cosines": [round(float(cosines[i]), 6) for i in order],
        "scale": prediction.scale,
        "bias": None if encoder.model.logit_bias is None else encoder.bias,
        "prompt": prompt_note(templates, labels[0]),
        "seen": data_address(seen),
        "size": seen.width,
    }


def prompt_note(templates: Sequence[str], label: str) -> str:
    """What the model read for the best label, so that templates are seen at work."""
    texts = [f"“{fill(template, label)}”" for template in templates]
    if len(texts) == 1:
        return f"The text tower read {texts[0]}."
    return f"The text tower read {len(texts)} texts and their vectors were averaged: " + (
        ", ".join(texts[:4]) + (", …" if len(texts) > 4 else ".")
    )


def effects_value(
    labels: Sequence[str], winner: int, share: float, effects: Sequence[TemplateEffect]
) -> Value:
    """Each template's part in the ensemble's answer, for `table`."""

    count = "this one template" if len(effects) == 1 else f"all {len(effects)} templates"

    def told(part: float | None, first: int | None) -> str:
        if part is None or first is None:
            return "nothing left"
        other = "" if first == winner else f", but “{labels[first]}” leads"
        return f"{100 * part:.1f} %{other}"

    return {
        "caption": f"“{labels[winner]}” has {100 * share:.1f} % by {count}, "
        f"among the best {len(labels)} labels",
        "columns": ["template", "cosine", "share by it alone", "share without it"],
        "rows": [
            [
                effect.template,
                f"{effect.cosine:.3f}",
                told(effect.share_alone, effect.winner_alone),
                told(effect.share_without, effect.winner_without),
            ]
            for effect in effects
        ],
        "note": "Vectors are averaged, not shares: a template that is sure of itself weighs no "
        "more than another.",
    }


def lean_value(found: Sequence[Lean], first: str, second: str, pairs: int) -> Value:
    """A bias audit, for `table`: words that lean most to the first group on top."""

    def told(lean: Lean) -> str:
        if not lean.apart:
            return "to neither: the interval holds 0"
        return first if lean.difference > 0 else second

    return {
        "caption": f"Mean cosine with {first} less that with {second}, over {pairs} pairs of emoji",
        "columns": ["word", "difference", "95 % interval", "leans to"],
        "rows": [
            [
                lean.text,
                f"{lean.difference:+.4f}",
                f"{lean.low:+.4f} to {lean.high:+.4f}",
                told(lean),
            ]
            for lean in found
        ],
        "note": "Cosines differ little: whether it matters depends on what is done with them.",
    }


def moment_value(moment: Moment) -> Value:
    """One step of a training, for `training`: rounded, as there are dozens of them."""
    return {
        "step": moment.step,
        "scale": moment.scale,
        "accuracy": moment.accuracy,
        "matrix": moment.matrix.round(3).tolist(),
        "pictures": moment.pictures.round(3).tolist(),
        "texts": moment.texts.round(3).tolist(),
    }


def heat_value(
    titles: Sequence[str], maps: Sequence[np.ndarray], seen: Image.Image, note: str
) -> Value:
    """Maps (titles, rows, columns) over a picture, for `heat`."""
    return {
        "seen": data_address(seen),
        "note": note,
        "maps": [
            {"title": title, "words": where(values), "values": np.round(values, 5).tolist()}
            for title, values in zip(titles, maps, strict=True)
        ],
    }


def matrix_value(
    found: Similarity,
    pictures: Sequence[tuple[Image.Image, str]],
    captions: Sequence[str],
    encoder: DualEncoder,
) -> Value:
    """Pictures with their names against captions, for `matrix`."""
    return {
        "pictures": [
            {"src": data_address(encoder.preprocess.crop(picture)), "name": name}
            for picture, name in pictures
        ],
        "captions": list(captions),
        "cosines": found.cosines.tolist(),
        "picture_lengths": found.picture_lengths.tolist(),
        "caption_lengths": found.text_lengths.tolist(),
        "scale": encoder.scale,
    }


def where(values: np.ndarray) -> str:
    """A map in words: where its highest place lies."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    down = ("top", "middle", "bottom")[int(3 * row / values.shape[0])]
    across = ("left", "centre", "right")[int(3 * column / values.shape[1])]
    return f"strongest at the {down} {across}"


def data_address(picture: Image.Image, lossless: bool = False) -> str:
    """The picture as a data: address, so that a page needs no further request for it."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=90, lossless=lossless)
    return webp_address(buffer.getvalue())


def webp_address(content: bytes) -> str:
    """A WebP file as a data: address."""
    return "data:image/webp;base64," + base64.b64encode(content).decode()
