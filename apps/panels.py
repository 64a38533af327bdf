"""Parts of a page that Gradio doesn't have: the way from cosine to probability, and samples.

Each is a `gr.HTML` whose markup, behaviour and looks lie in `static/`; here is the data they draw.
"""

import base64
import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from apps.samples import Sample
from apps.theme import asset
from clip_lab import DualEncoder, LabError
from clip_lab.zero_shot import Prediction, fill

SHOWN = 20  # labels drawn, of however many

Value = dict[str, Any]  # what the panel of stages draws, or {"error": a sentence}


def in_words(work: Callable[..., Value]) -> Callable[..., Value]:
    """A fault that the user can put right becomes a sentence in the result's place."""

    @wraps(work)
    def guarded(*args: Any, **kwargs: Any) -> Value:
        try:
            return work(*args, **kwargs)
        except LabError as error:
            return {"error": str(error)}

    return guarded


def stages_panel(value: Value, **options: Any) -> gr.HTML:
    """Cosine, logit and probability of each label side by side, with the temperature's slider.

    The slider works in the browser: the cosines are sent once, the rest is computed there. The
    panel's value comes from `stages_value`, or is {"error": sentence}.
    """
    return _panel("stages", value, options)


def samples_panel(samples: Sequence[Sample], **options: Any) -> gr.HTML:
    """A grid of sample pictures. A click triggers `click` with the sample's `index`."""
    value = [
        {"src": data_address(s.picture), "name": s.name, "style": s.style, "mark": s.mark}
        for s in samples
    ]
    return _panel("samples", value, options)


def _panel(name: str, value: Any, options: dict[str, Any]) -> gr.HTML:
    return gr.HTML(
        value,
        html_template=asset(f"{name}.html"),
        js_on_load=asset(f"{name}.js"),
        apply_default_css=False,
        **options,
    )


def stages_value(prediction: Prediction, templates: Sequence[str], seen: Image.Image) -> Value:
    """What the panel draws for the first picture of a prediction.

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


def about(encoder: DualEncoder) -> str:
    """What the model in use has seen, from its card, so that nobody expects more of it."""
    card = encoder.card
    seen, unknown = card.get("trained_on"), card.get("does_not_know")
    words = f"It has seen {seen}." if seen else "Its card doesn't say what it was trained on."
    words += f" Unknown to it: {unknown}." if unknown else ""
    return f"**About this model, “{encoder.name}”.** {words}"


def data_address(picture: Image.Image) -> str:
    """The picture as a data: address, so that a page needs no further request for it."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
