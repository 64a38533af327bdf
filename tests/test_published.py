"""Folders and files as other projects leave them, from strings and pictures to vectors."""

import json
import shutil

import pytest
import torch
import vocabularies
from PIL import Image
from test_layouts import CLIP_CFGS, HF_VALUES, apart, open_clip_model, shaken
from torch.nn.functional import normalize

from clip_lab import load, save
from clip_lab.data.emoji import emoji_test
from clip_lab.errors import LabError

pytestmark = pytest.mark.peers

TEXTS = [
    "a photo of a cat",
    "the Eiffel tower, 1889!",
    "red fox",
    "雪の中の犬",
    "cafe\u0301 &amp; croissant 🥐",
    "a",
    "",
    "a red fox jumping over the very lazy dog while nobody is watching it at all",
]


@pytest.fixture(scope="module")
def photos():
    """Pictures of several sizes and shapes."""
    generator = torch.Generator().manual_seed(3)
    sizes = [(40, 30), (97, 121), (200, 33), (64, 64)]
    noise = (torch.randint(0, 256, (h, w, 3), generator=generator).byte() for w, h in sizes)
    return [Image.fromarray(pixels.numpy()).resize((80, 60)) for pixels in noise] + [
        Image.fromarray(torch.randint(0, 256, (h, w, 3), generator=generator).byte().numpy())
        for w, h in sizes
    ]


# -- open_clip ------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["vit, quick_gelu", "resnet"])
def open_clip_folder(request, peers, tmp_path_factory):
    """A hub repository as open_clip's own code writes it, and what open_clip makes of it."""
    from open_clip.push_to_hf_hub import save_config_for_hf

    folder = tmp_path_factory.mktemp("open_clip")
    values = json.loads(json.dumps(CLIP_CFGS[request.param]))
    values["text_cfg"]["vocab_size"] = 49408
    model = open_clip_model(values, peers)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    size = values["vision_cfg"]["image_size"]
    model.visual.image_mean, model.visual.image_std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    model.visual.preprocess_cfg = {
        "size": size, "mode": "RGB", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4],
        "interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0,
    }  # fmt: skip
    save_config_for_hf(model, folder / "open_clip_config.json", values)
    theirs, _, preprocess = peers.open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return folder, theirs.eval(), preprocess, peers.open_clip.get_tokenizer(f"local-dir:{folder}")


def test_an_open_clip_folder_agrees_from_strings_and_pictures_to_logits(open_clip_folder, photos):
    folder, theirs, preprocess, tokenizer = open_clip_folder
    ours = load(folder, "cpu")
    with torch.no_grad():
        images = normalize(theirs.encode_image(torch.stack([preprocess(p) for p in photos])))
        texts = normalize(theirs.encode_text(tokenizer(TEXTS)))
    assert apart(ours.encode_images(photos), images) < 1e-5
    assert apart(ours.encode_texts(TEXTS), texts) < 1e-5
    logits = ours.scale * ours.encode_images(photos) @ ours.encode_texts(TEXTS).T
    assert apart(logits, theirs.logit_scale.exp().detach() * images @ texts.T) < 1e-5
    for photo in photos:
        assert torch.equal(ours.preprocess(photo), preprocess(photo))
    assert torch.equal(ours.tokenizer(TEXTS), tokenizer(TEXTS))


def test_another_resolution_agrees_with_open_clip_s(open_clip_folder, peers, photos):
    folder, theirs, *_ = open_clip_folder
    if not hasattr(theirs.visual, "positional_embedding"):
        return  # open_clip has no other resolutions for a ResNet; the next test looks at ours
    larger, _, preprocess = peers.open_clip.create_model_and_transforms(
        f"local-dir:{folder}", force_image_size=160
    )
    ours = load(folder, "cpu", image_size=160)
    with torch.no_grad():
        images = larger.eval().encode_image(torch.stack([preprocess(p) for p in photos]))
    assert apart(ours.encode_images(photos), normalize(images)) < 1e-5
    with pytest.raises(LabError, match="no multiple of 32"):
        load(folder, "cpu", image_size=100)


def test_a_resnet_at_another_resolution_still_encodes(open_clip_folder, photos):
    folder, *_ = open_clip_folder
    ours = load(folder, "cpu", image_size=128)
    assert ours.preprocess.size == 128
    assert ours.encode_images(photos).shape == (len(photos), 48)


def test_half_precision_stays_close(open_clip_folder, photos):
    folder, *_ = open_clip_folder
    exact, half = load(folder, "cpu"), load(folder, "cpu", dtype="bfloat16")
    assert half.model.logit_scale.dtype == torch.float32
    cosines = (exact.encode_images(photos) * half.encode_images(photos)).sum(1)
    assert cosines.min() > 0.999
    cosines = (exact.encode_texts(TEXTS) * half.encode_texts(TEXTS)).sum(1)
    assert cosines.min() > 0.999
    with pytest.raises(LabError, match="no precision"):
        load(folder, "cpu", dtype="int8")


def test_what_is_saved_for_open_clip_loads_there_and_agrees(open_clip_folder, peers, tmp_path):
    ours = load(open_clip_folder[0], "cpu")
    save(ours, tmp_path / "back", layout="open_clip")
    name = f"local-dir:{tmp_path / 'back'}"
    theirs, _, preprocess = peers.open_clip.create_model_and_transforms(name)
    tokens = peers.open_clip.get_tokenizer(name)(TEXTS)
    with torch.no_grad():
        assert apart(ours.encode_texts(TEXTS), normalize(theirs.eval().encode_text(tokens))) < 1e-5
    photo = Image.new("RGB", (300, 200), "teal")
    assert torch.equal(ours.preprocess(photo), preprocess(photo))
    again = load(tmp_path / "back", "cpu")
    assert apart(ours.encode_texts(TEXTS), again.encode_texts(TEXTS)) < 1e-6


def test_the_built_in_model_runs_in_open_clip(peers, tmp_path):
    """With its own tokenizer, whose files go along."""
    ours = load("emoji", "cpu")
    save(ours, tmp_path, layout="open_clip")
    theirs, *_ = peers.open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    pictures = emoji_test("openmoji", "heldout").pictures[:4]
    pixels = torch.stack([ours.preprocess(p) for p in pictures])
    with torch.no_grad():
        assert (
            apart(ours.encode_images(pictures), normalize(theirs.eval().encode_image(pixels)))
            < 1e-5
        )
        texts = ["red apple", "a rocket"]
        tokens = ours.tokenizer(texts)
        assert apart(ours.encode_texts(texts), normalize(theirs.encode_text(tokens))) < 1e-5


# -- files of weights alone -----------------------------------------------------------------------


def test_openai_s_archives_load_with_their_own_activation(peers, tmp_path, photos):
    values = json.loads(json.dumps(CLIP_CFGS["vit, quick_gelu"]))
    values["text_cfg"]["vocab_size"] = 49408
    theirs = open_clip_model(values, peers).half().float()
    path = tmp_path / "ViT-tiny.pt"
    images = torch.randn(1, 3, 96, 96)
    tokens = peers.open_clip.tokenize(["a cat"])
    torch.jit.trace(theirs, (images, tokens), strict=False, check_trace=False).save(str(path))
    ours = load(path, "cpu")
    assert ours.model.config.activation == "quick_gelu"
    with torch.no_grad():
        texts = theirs.encode_text(peers.open_clip.tokenize(TEXTS))
    assert apart(ours.encode_texts(TEXTS), normalize(texts)) < 1e-5


def test_bare_weights_ask_for_the_activation(open_clip_folder, tmp_path):
    folder, theirs, *_ = open_clip_folder
    path = tmp_path / "weights.bin"
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, path)
    with pytest.raises(LabError, match="which activation"):
        load(path, "cpu")
    ours = load(path, "cpu", activation="quick_gelu")
    assert ours.model.config == load(folder, "cpu").model.config
    assert apart(ours.encode_texts(TEXTS), load(folder, "cpu").encode_texts(TEXTS)) < 1e-6


# -- Hugging Face ---------------------------------------------------------------------------------


def huggingface_folder(kind, folder):
    """A folder as transformers writes it: model, image processor, tokenizer."""
    import transformers

    values = json.loads(json.dumps(HF_VALUES[kind]))
    size = values["vision_config"]["image_size"]
    if kind == "CLIP":
        values["text_config"] |= {"vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406}
    else:
        values["text_config"]["vocab_size"] = 4000
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**values)
    theirs = shaken(getattr(transformers, f"{kind}Model")(config))
    theirs.save_pretrained(folder)
    processor = getattr(transformers, f"{kind}ImageProcessorPil")
    square = {"height": size, "width": size}
    sizes = {"size": square} if kind == "Siglip" else {"size": square, "crop_size": square}
    if kind == "CLIP":
        sizes["size"] = {"shortest_edge": size}
    processor = processor(**sizes)
    processor.save_pretrained(folder)
    if kind == "CLIP":
        from clip_lab.pretrained.tokenizer_files import openai_tokenizer, tokenizer_to_huggingface

        for name, text in tokenizer_to_huggingface(openai_tokenizer()).items():
            (folder / name).write_text(text, encoding="utf-8")
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    elif kind == "Siglip":
        shutil.copy(vocabularies.SPIECE, folder / "spiece.model")
        tokenizer = transformers.SiglipTokenizer(str(folder / "spiece.model"))
        tokenizer.save_pretrained(folder)
    else:
        (folder / "vocab.txt").write_text(vocabularies.bert_vocab(), encoding="utf-8")
        tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    return theirs, processor, tokenizer


@pytest.mark.parametrize("kind", HF_VALUES)
def test_a_huggingface_folder_agrees_from_strings_and_pictures_to_vectors(kind, tmp_path, photos):
    theirs, processor, tokenizer = huggingface_folder(kind, tmp_path)
    ours = load(tmp_path, "cpu")
    length = ours.tokenizer.context_length
    texts = [text for text in TEXTS if len(ours.tokenizer.encode(text)) < length - 2]
    inputs = tokenizer(texts, padding="max_length", max_length=length, return_tensors="pt")
    pixels = processor(images=photos, return_tensors="pt")["pixel_values"]
    mask = inputs.get("attention_mask") if kind != "Siglip" else None
    with torch.no_grad():
        out = theirs(input_ids=inputs["input_ids"], pixel_values=pixels, attention_mask=mask)
    assert apart(ours.encode_images(photos), out.image_embeds) < 1e-5
    assert apart(ours.encode_texts(texts), out.text_embeds) < 1e-5
    cosines = ours.encode_images(photos) @ ours.encode_texts(texts).T
    assert apart(ours.scale * cosines + ours.bias, out.logits_per_image) < 1e-5


@pytest.mark.parametrize("kind", HF_VALUES)
def test_what_is_saved_for_transformers_loads_there_and_agrees(kind, tmp_path, photos):
    import transformers

    theirs, *_ = huggingface_folder(kind, tmp_path / "theirs")
    ours = load(tmp_path / "theirs", "cpu")
    save(ours, tmp_path / "back", layout="huggingface")
    model = getattr(transformers, f"{kind}Model")
    again, info = model.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    back = load(tmp_path / "back", "cpu")
    assert apart(ours.encode_texts(TEXTS[:4]), back.encode_texts(TEXTS[:4])) < 1e-6
    assert apart(ours.encode_images(photos), back.encode_images(photos)) < 1e-6


def test_the_lab_s_own_layout_keeps_every_family(tmp_path, photos):
    for kind in HF_VALUES:
        huggingface_folder(kind, tmp_path / kind)
        ours = load(tmp_path / kind, "cpu")
        save(ours, tmp_path / f"{kind}-lab")
        back = load(tmp_path / f"{kind}-lab", "cpu")
        assert back.model.config == ours.model.config
        assert apart(ours.encode_texts(TEXTS[:4]), back.encode_texts(TEXTS[:4])) < 1e-6
        assert apart(ours.encode_images(photos), back.encode_images(photos)) < 1e-6


# -- what can be wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_tensors_that_do_not_fit_are_listed(open_clip_folder, fault, tmp_path):
    folder = shutil.copytree(open_clip_folder[0], tmp_path / "m")
    path = folder / "open_clip_pytorch_model.bin"
    state = torch.load(path, weights_only=True)
    if fault == "missing":
        del state["ln_final.weight"]
    elif fault == "extra":
        state["visual.stranger"] = torch.zeros(2)
    else:
        state["ln_final.weight"] = torch.zeros(3)
    torch.save(state, path)
    with pytest.raises(LabError, match=r"ln_final\.weight|visual\.stranger"):
        load(folder, "cpu")


def test_a_configuration_that_disagrees_or_is_unknown_is_a_sentence(open_clip_folder, tmp_path):
    folder = shutil.copytree(open_clip_folder[0], tmp_path / "m")
    path = folder / "open_clip_config.json"
    values = json.loads(path.read_text())

    def with_(part, **changed):
        new = json.loads(json.dumps(values))
        new["model_cfg"][part] |= changed
        path.write_text(json.dumps(new))
        return new

    with_("text_cfg", layers=3)
    with pytest.raises(LabError, match=r"resblocks\.2"):
        load(folder, "cpu")
    with_("text_cfg", width=128, heads=2)
    with pytest.raises(LabError, match="has shape"):
        load(folder, "cpu")
    with_("vision_cfg", timm_model_name="convnext_base")
    with pytest.raises(LabError, match="convnext_base"):
        load(folder, "cpu")
    with_("text_cfg", width="wide")
    with pytest.raises(LabError, match="open_clip_config"):
        load(folder, "cpu")
    path.write_text("{")
    with pytest.raises(LabError, match=r"open_clip_config\.json is damaged"):
        load(folder, "cpu")
    path.write_text(json.dumps({"model_cfg": 3}))
    with pytest.raises(LabError, match="does not describe a model"):
        load(folder, "cpu")


def test_a_folder_without_weights_or_configuration_says_what_it_needs(tmp_path):
    with pytest.raises(LabError, match="holds no model"):
        load(tmp_path, "cpu")


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
    with pytest.raises(LabError, match="no CLIP under names"):
        load(tmp_path / "other.pt", "cpu", activation="gelu")


def test_a_layout_that_cannot_hold_a_model_writes_nothing(tmp_path):
    ours = load("emoji", "cpu")  # a ResNet
    with pytest.raises(LabError, match="no ResNet"):
        save(ours, tmp_path / "hf", layout="huggingface")
    with pytest.raises(LabError, match="no layout"):
        save(ours, tmp_path / "hf", layout="tensorflow")
    assert not (tmp_path / "hf").exists()
