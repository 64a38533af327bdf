"""How pictures are prepared, read from the files that lie beside published weights, and written.

OpenCLIP keeps it in open_clip_config.json under "preprocess_cfg", transformers in
preprocessor_config.json, or nested under "image_processor" in processor_config.json. What such a
file asks for is done exactly or refused by name: a field that changes pixels is never passed over.

The one thing that neither file says is where a centre crop with an odd margin starts: each
package rounds half a pixel its own way, and `Preprocess.rounding` keeps it.
"""

import math
from typing import Any

from clip_lab.errors import LabError
from clip_lab.preprocess import Preprocess

Values = dict[str, Any]

RESIZE_OF_MODE = {"shortest": "crop", "squash": "squash"}  # OpenCLIP's word and ours
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # Pillow's codes, which transformers stores

# What transformers' image processors do where the file leaves a field out.
_CLIP: Values = {
    "size": {"shortest_edge": 224},
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "resample": 3,
    "image_mean": list(Preprocess.mean),
    "image_std": list(Preprocess.std),
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
}
_SIGLIP: Values = _CLIP | {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
DEFAULTS = {
    "CLIPImageProcessor": _CLIP,
    "ChineseCLIPImageProcessor": _CLIP,
    "SiglipImageProcessor": _SIGLIP,
}
# Of no consequence to a picture's values: what the file is for, how results are handed back, and
# the conversion to RGB, which here every picture goes through.
HARMLESS = {
    "_valid_processor_keys", "processor_class", "feature_extractor_type", "image_processor_type",
    "do_convert_rgb", "data_format", "input_data_format", "default_to_square", "device",
    "return_tensors", "disable_grouping", "backend", "transformers_version", "image_seq_length",
    "pad_size",
}  # fmt: skip


def preprocess_from_open_clip(values: Values, image_size: int) -> Preprocess:
    """What OpenCLIP does for a model of this `image_size` by this "preprocess_cfg".

    The picture's size is the model's, whatever the file says, as in OpenCLIP. Raises LabError for
    anything that isn't done here.
    """
    where = "open_clip_config.json"
    known = {"size", "mode", "mean", "std", "interpolation", "resize_mode", "fill_color"}
    _only(values, known, where)
    values = {field: value for field, value in values.items() if value is not None}
    _square(values.get("size", image_size), "size", where)
    if values.get("mode", "RGB") != "RGB":
        raise _refused("mode", values["mode"], where, "RGB")
    resize_mode = values.get("resize_mode", "shortest")
    if resize_mode not in list(RESIZE_OF_MODE):
        raise _refused("resize_mode", resize_mode, where, "“shortest” and “squash”")
    interpolation = values.get("interpolation", "bicubic")
    if interpolation == "random":  # in training only
        interpolation = "bicubic"
    if interpolation not in RESAMPLE.values():
        raise _refused("interpolation", interpolation, where, "“bicubic” and “bilinear”")
    return Preprocess(
        image_size,
        # As OpenCLIP reads it, a bare 0 is no mean at all, where [0, 0, 0] is one.
        _channels(values.get("mean") or Preprocess.mean, "mean", where),
        _channels(values.get("std") or Preprocess.std, "std", where),
        interpolation,
        RESIZE_OF_MODE[resize_mode],
    )


def to_open_clip(preprocess: Preprocess) -> Values:
    """The "preprocess_cfg" by which OpenCLIP does the same."""
    modes = {ours: theirs for theirs, ours in RESIZE_OF_MODE.items()}
    return {
        "size": preprocess.size,
        "mode": "RGB",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.interpolation,
        "resize_mode": modes[preprocess.resize],
    }


def preprocess_from_huggingface(values: Values) -> Preprocess:
    """What transformers' image processor does by a preprocessor_config.json.

    Also takes a processor_config.json, which nests it, and the spellings of older versions (a
    feature extractor's name, sizes as one number). Equal to the processors that work on Pillow's
    pictures (CLIPImageProcessorPil and its kin); those on torchvision's tensors round each colour
    after resizing a little differently: 1 of 255 at most. Raises LabError for anything that isn't
    done here.
    """
    where = "the image processor's config"
    values = values.get("image_processor", values)
    if not isinstance(values, dict):
        raise LabError(f"In {where} there is {values!r}, not a list of fields. Fetch it again.")
    kind = values.get("image_processor_type") or values.get("feature_extractor_type")
    kind = _name(str(kind or "CLIPImageProcessor"))
    if kind not in DEFAULTS:
        raise _refused("image_processor_type", kind, where, ", ".join(DEFAULTS))
    _only(values, HARMLESS | set(_CLIP) | {"do_pad"}, where)
    values = DEFAULTS[kind] | {name: v for name, v in values.items() if v is not None}
    for field, wanted in {"do_resize": True, "do_rescale": True, "do_pad": False}.items():
        if values.get(field, wanted) != wanted:
            raise _refused(field, values[field], where, str(wanted))
    factor = values["rescale_factor"]
    if not isinstance(factor, (int, float)) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        raise _refused("rescale_factor", factor, where, "1/255")
    if values["resample"] not in list(RESAMPLE):
        raise _refused("resample", values["resample"], where, "2 (bilinear) and 3 (bicubic)")
    size, resize = _size_and_resize(values, where)
    plain = not values["do_normalize"]
    return Preprocess(
        size,
        (0.0, 0.0, 0.0) if plain else _channels(values["image_mean"], "image_mean", where),
        (1.0, 1.0, 1.0) if plain else _channels(values["image_std"], "image_std", where),
        RESAMPLE[values["resample"]],
        resize,
        rounding="down",
    )


def to_huggingface(preprocess: Preprocess, kind: str = "CLIPImageProcessor") -> Values:
    """The preprocessor_config.json by which transformers does the same, as an image processor of
    this `kind` (or any other of `DEFAULTS`: no field is left to its default)."""
    size = preprocess.size
    both = {"height": size, "width": size}
    codes = {ours: code for code, ours in RESAMPLE.items()}
    crop = preprocess.resize == "crop"
    return _CLIP | {
        "image_processor_type": kind,
        "size": {"shortest_edge": size} if crop else both,
        "do_center_crop": crop,
        "crop_size": both,
        "resample": codes[preprocess.interpolation],
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
        "do_convert_rgb": True,
    }


def _size_and_resize(values: Values, where: str) -> tuple[int, str]:
    """Of the four ways that `size` and `do_center_crop` make, the two that give a square."""
    size = values["size"]
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        size = size["shortest_edge"]
    if isinstance(size, int):
        if not values["do_center_crop"]:
            raise _refused("do_center_crop", False, where, "True where size is one side")
        side, resize = size, "crop"
    else:
        side, resize = _square(size, "size", where), "squash"
    if values["do_center_crop"] and _square(values["crop_size"], "crop_size", where) != side:
        raise _refused("crop_size", values["crop_size"], where, f"the size itself, {side}")
    return side, resize


def _square(value: Any, field: str, where: str) -> int:
    """The side of a square, from one number, a pair, or {"height", "width"}."""
    sides = [value, value] if isinstance(value, int) else value
    if isinstance(value, dict) and set(value) == {"height", "width"}:
        sides = [value["height"], value["width"]]
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or sides[0] != sides[1]:
        raise _refused(field, value, where, "squares")
    return int(sides[0])


def _channels(value: Any, field: str, where: str) -> tuple[float, float, float]:
    """Three numbers; one stands for all three."""
    numbers = [value] * 3 if isinstance(value, (int, float)) else value
    try:
        red, green, blue = map(float, numbers)
    except (TypeError, ValueError) as error:
        raise _refused(field, value, where, "three numbers") from error
    return (red, green, blue)


def _name(kind: str) -> str:
    """A processor's name without its version: "CLIPFeatureExtractor", "...Fast", "...Pil"."""
    kind = kind.removesuffix("Fast").removesuffix("Pil")
    return kind.replace("FeatureExtractor", "ImageProcessor")


def _only(values: Values, known: set[str], where: str) -> None:
    unknown = [name for name in values if name not in known and values[name] is not None]
    if unknown:
        raise LabError(
            f"The field “{unknown[0]}” in {where} is not known here, and might change the pictures "
            "that the model sees. Take it out if you know that it doesn't."
        )


def _refused(field: str, value: Any, where: str, can: str) -> LabError:
    return LabError(
        f"{where[0].upper() + where[1:]} asks for {field} = {value}. CLIP Lab can do {can}; "
        "any other would feed the model pictures that it wasn't trained on."
    )
