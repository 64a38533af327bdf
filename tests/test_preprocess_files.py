"""How pictures are prepared, as the owners' files say: every field done exactly or refused."""

import json

import pytest
import torch
from test_preprocess import image_processors, noise

from clip_lab.errors import LabError
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained.preprocess_files import (
    DEFAULTS,
    preprocess_from_huggingface,
    preprocess_from_open_clip,
    to_huggingface,
    to_open_clip,
)

INCEPTION = [0.5, 0.5, 0.5]
PICTURES = [noise(35, 32), noise(50, 91), noise(32, 32)]

# As they are published: LAION's, SigLIP's, CLIPA's, MobileCLIP's, old and sparse ones.
OPEN_CLIP = [
    {},
    {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]},
    {"mean": INCEPTION, "std": INCEPTION, "interpolation": "bicubic", "resize_mode": "squash"},
    {"size": 24, "mode": "RGB", "interpolation": "bilinear", "resize_mode": "squash"},
    {"size": [24, 24], "interpolation": "bilinear", "resize_mode": "shortest", "fill_color": 0},
    {"mean": 0.0, "std": 1.0, "interpolation": "random", "resize_mode": None},
]


@pytest.mark.peers
@pytest.mark.parametrize("values", OPEN_CLIP, ids=str)
def test_open_clip_s_files_give_open_clip_s_pictures(peers, values):
    from open_clip import transform

    ours = preprocess_from_open_clip(values, 24)
    given = {name: value for name, value in values.items() if value is not None}
    cfg = transform.PreprocessCfg(**(given | {"size": 24}))
    theirs = transform.image_transform_v2(cfg, is_train=False)
    for picture in PICTURES:
        assert torch.equal(ours(picture), theirs(picture))
    assert preprocess_from_open_clip(to_open_clip(ours), 24) == ours


def test_open_clip_s_size_is_the_model_s():
    assert preprocess_from_open_clip({"size": 224}, 336).size == 336


HUGGINGFACE = {
    "CLIP, as first published": {
        "crop_size": 24,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 24,
    },
    "CLIP, saved again": {
        "crop_size": {"height": 24, "width": 24},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_processor_type": "CLIPImageProcessor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "CLIPProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 24},
    },
    "SigLIP": {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "do_convert_rgb": None,
        "image_mean": INCEPTION,
        "image_processor_type": "SiglipImageProcessor",
        "image_std": INCEPTION,
        "processor_class": "SiglipProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 24, "width": 24},
    },
    "SigLIP 2": {
        "image_processor_type": "SiglipImageProcessorFast",
        "image_mean": INCEPTION,
        "image_std": INCEPTION,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 24, "width": 24},
        "data_format": "channels_first",
        "device": None,
        "crop_size": None,
        "do_center_crop": None,
    },
    "Chinese-CLIP": {
        "crop_size": {"height": 24, "width": 24},
        "do_center_crop": False,
        "feature_extractor_type": "ChineseCLIPFeatureExtractor",
        "resample": 3,
        "size": {"height": 24, "width": 24},
    },
    "squashed, then a crop of the same size": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"height": 24, "width": 24},
        "crop_size": {"height": 24, "width": 24},
    },
    "values from 0 to 1": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 24},
        "crop_size": 24,
        "do_normalize": False,
    },
    "nothing but its kind": {"image_processor_type": "SiglipImageProcessorPil"},
    "nothing": {},
}


@pytest.mark.peers
@pytest.mark.parametrize("values", HUGGINGFACE.values(), ids=HUGGINGFACE)
def test_transformers_files_give_transformers_pictures(peers, values):
    import transformers

    ours = preprocess_from_huggingface(values)
    kind = values.get("image_processor_type") or values.get("feature_extractor_type", "CLIP")
    family = next(name for name in reversed(DEFAULTS) if name[:4] == kind[:4])
    theirs = getattr(transformers, family + "Pil").from_dict(dict(values))
    for picture in PICTURES:
        pixels = theirs(picture, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(ours(picture), pixels), family


@pytest.mark.peers
@pytest.mark.parametrize("values", HUGGINGFACE.values(), ids=HUGGINGFACE)
def test_what_is_written_for_transformers_means_the_same_to_every_processor(peers, values):
    ours = preprocess_from_huggingface(values)
    written = json.loads(json.dumps(to_huggingface(ours)))
    assert preprocess_from_huggingface(written) == ours
    assert preprocess_from_huggingface({"image_processor": written}) == ours  # processor_config
    for theirs in image_processors(written)[::2]:
        pixels = theirs(PICTURES[1], return_tensors="pt")["pixel_values"][0]
        assert torch.equal(ours(PICTURES[1]), pixels), theirs


@pytest.mark.peers
def test_what_transformers_writes_is_read(peers, tmp_path):
    import transformers

    for name, defaults in DEFAULTS.items():
        sizes = {"size": {"shortest_edge": 20}, "crop_size": 20, "do_center_crop": True}
        getattr(transformers, name + "Pil")(**sizes).save_pretrained(tmp_path)
        written = json.loads((tmp_path / "preprocessor_config.json").read_text())
        expected = Preprocess(
            20, tuple(defaults["image_mean"]), tuple(defaults["image_std"]), rounding="down"
        )
        assert preprocess_from_huggingface(written) == expected


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"resize_mode": "longest"}, "resize_mode"),
        ({"interpolation": "nearest"}, "interpolation"),
        ({"mode": "L"}, "mode"),
        ({"size": [24, 32]}, "size"),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"std": "wide"}, "std"),
        ({"std": [0.5, 0.0, 0.5]}, "deviation"),
        ({"sharpen": 2}, "sharpen"),
    ],
    ids=str,
)
def test_what_open_clip_s_file_asks_for_is_done_or_refused_by_name(values, field):
    with pytest.raises(LabError, match=field):
        preprocess_from_open_clip(values, 24)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"image_processor_type": "Siglip2ImageProcessor"}, "image_processor_type"),
        ({"image_processor_type": "ViTImageProcessor"}, "image_processor_type"),
        ({"resample": 0}, "resample"),
        ({"resample": [3]}, "resample"),
        ({"size": {"height": 24, "width": 32}}, "size"),
        ({"size": {"shortest_edge": 24, "longest_edge": 99}}, "size"),
        ({"size": {"shortest_edge": 256}}, "crop_size"),
        ({"crop_size": {"height": 224, "width": 200}}, "crop_size"),
        ({"do_center_crop": False}, "do_center_crop"),
        ({"do_resize": False}, "do_resize"),
        ({"do_rescale": False}, "do_rescale"),
        ({"do_pad": True}, "do_pad"),
        ({"rescale_factor": 1.0}, "rescale_factor"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order"),
        ({"image_processor": [1]}, "image processor's config"),
    ],
    ids=str,
)
def test_what_transformers_file_asks_for_is_done_or_refused_by_name(values, field):
    with pytest.raises(LabError, match=field):
        preprocess_from_huggingface(values)
