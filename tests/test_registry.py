"""The table of published models: what it says is what their owners' packages say."""

import json
import subprocess
import sys

import pytest
import torch

from clip_lab.cli import main
from clip_lab.model import CLIP, CONFIGS
from clip_lab.pretrained.registry import Row, find, rows, sources, suggestions

# Rows whose weights are counted on models that their owners' packages build.
COUNTED = [
    "openai/RN50x4", "laion/ViT-g-14-s34b", "datacomp/ViT-B-32-256", "dfn/ViT-H-14-378",
    "siglip/ViT-L-16-384", "siglip2/ViT-SO400M-16-256",
]  # fmt: skip
CHINESE_TOWERS = {  # width, layers, heads, patch of the image tower; width, layers, heads of BERT
    "chinese-clip/ViT-B-16": ((768, 12, 12, 16), (768, 12, 12)),
    "chinese-clip/ViT-L-14-336": ((1024, 24, 16, 14), (768, 12, 12)),
    "chinese-clip/ViT-H-14": ((1280, 32, 16, 14), (1024, 24, 16)),
}


def row(name: str) -> Row:
    found = find(name)
    assert found is not None, name
    return found


# -- the table itself -----------------------------------------------------------------------------


def test_names_are_unique_and_every_family_is_there():
    names = [row.name for row in rows()]
    assert len(set(names)) == len(names)
    families = [name.split("/")[0] for name in names]
    assert families == sorted(families, key=families.index)  # each in one piece
    assert set(families) >= {
        "openai", "laion", "datacomp", "dfn", "siglip", "siglip2", "chinese-clip"
    }  # fmt: skip
    assert all(name.count("/") == 1 and row(name).repo.count("/") == 1 for name in names)


def test_every_published_figure_has_a_source():
    for row in rows():
        assert (row.imagenet is None) == (row.source is None)
        if row.imagenet is not None:
            assert row.source in sources()
            assert 50 < row.imagenet < 90  # per cent


@pytest.mark.parametrize("name", CONFIGS)
def test_openai_s_nine_models_agree_with_our_own(name):
    with torch.device("meta"):
        model = CLIP(CONFIGS[name])
    published = row(f"openai/{name}")
    assert published.embed_dim == CONFIGS[name].embed_dim
    assert published.resolution == CONFIGS[name].vision.image_size
    assert published.parameters == millions(model)


def test_a_name_is_found_only_as_it_is_written():
    assert row("laion/ViT-bigG-14").repo == "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
    assert find("openai/ViT-B/32") is None
    assert find("emoji") is None


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("openai/ViT-B/32", "Did you mean “openai/ViT-B-32”? "),
        ("openai/ViT-L/14@336px", "Did you mean “openai/ViT-L-14-336”? "),
        ("OpenAI/vit-b-16", "Did you mean “openai/ViT-B-16”? "),
        ("RN50x64", "Did you mean “openai/RN50x64”? "),
        ("laion/ViT-g-14", "Did you mean “laion/ViT-g-14-s12b” or “laion/ViT-g-14-s34b”? "),
        ("chinese_clip/ViT-H-14", "Did you mean “chinese-clip/ViT-H-14”? "),
        ("somebody/bert-base", ""),
    ],
)
def test_suggestions(written, meant):
    assert suggestions(written) == meant


def test_a_typing_error_is_met_with_what_is_close():
    assert "“openai/ViT-B-32”" in suggestions("openai/ViT-B-23")


# -- against the owners' packages -----------------------------------------------------------------


@pytest.mark.peers
def test_open_clip_knows_the_same_repositories_sizes_and_widths(peers):
    """Chinese-CLIP aside, which it doesn't carry."""
    known: dict[str, list[dict]] = {}
    for architecture, tag in peers.open_clip.list_pretrained():
        hub = peers.open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "")
        known.setdefault(hub.rstrip("/"), []).append(peers.open_clip.get_model_config(architecture))
    for row in rows():
        if not row.name.startswith("chinese-clip/"):
            sizes = {(c["embed_dim"], c["vision_cfg"]["image_size"]) for c in known[row.repo]}
            assert (row.embed_dim, row.resolution) in sizes, row


@pytest.mark.peers
@pytest.mark.parametrize("name", COUNTED)
def test_weights_are_counted_on_open_clip_s_models(peers, name):
    architecture = next(
        architecture
        for architecture, tag in peers.open_clip.list_pretrained()
        if peers.open_clip.get_pretrained_cfg(architecture, tag).get("hf_hub", "").rstrip("/")
        == row(name).repo
    )
    config = dict(peers.open_clip.get_model_config(architecture))
    kind = "CustomTextCLIP" if config.pop("custom_text", False) else "CLIP"
    with torch.device("meta"):
        model = getattr(peers.open_clip, kind)(**config)
    assert row(name).parameters == millions(model)


@pytest.mark.peers
@pytest.mark.parametrize("name", CHINESE_TOWERS)
def test_weights_are_counted_on_transformers_chinese_clip(peers, name):
    from transformers import ChineseCLIPConfig, ChineseCLIPModel

    (width, layers, heads, patch), bert = CHINESE_TOWERS[name]
    vision = transformer(width, layers, heads) | {
        "patch_size": patch,
        "image_size": row(name).resolution,
    }
    config = ChineseCLIPConfig(
        projection_dim=row(name).embed_dim,
        vision_config=vision,
        text_config=transformer(*bert) | {"vocab_size": 21128},
    )
    with torch.device("meta"):
        model = ChineseCLIPModel(config)
    assert row(name).parameters == millions(model)


def transformer(width: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


def millions(model: torch.nn.Module) -> float:
    return round(sum(p.numel() for p in model.parameters()) / 1e6, 2)


# -- clip-lab models ------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_the_table_lists_every_model_the_built_in_ones_first(cache, capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[1 : lines.index("")]]
    assert names == ["emoji", "photos", "shapes", *(row.name for row in rows())]
    assert max(map(len, lines)) <= 100
    [line] = [line for line in lines if line.startswith("openai/ViT-L-14-336")]
    assert line.split() == ["openai/ViT-L-14-336", "427.9", "336", "76.6", "%", "a", "MIT"]
    assert "  a  mlfoundations/open_clip, docs/openclip_results.csv" in "\n".join(lines)


def test_a_filter_narrows_the_table_and_the_sources_with_it(cache, capsys):
    assert main(["models", "SigLIP2/ViT-B"]) == 0
    out = capsys.readouterr().out
    assert out.count("\nsiglip2/ViT-B") == 5
    assert "openai" not in out
    assert "mlfoundations" not in out


def test_what_is_in_the_cache_says_so(cache, capsys):
    snapshot = cache / "models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "open_clip_config.json").write_text("{}")
    assert main(["models", "laion/ViT-B-32"]) == 0
    assert "in the cache" not in capsys.readouterr().out  # no weights yet
    (snapshot / "open_clip_model.safetensors").write_text("")
    assert main(["models", "laion/ViT-B"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "in the cache" in line]
    assert line.startswith("laion/ViT-B-32 ")


def test_json_gives_everything_that_is_known(cache, capsys):
    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in models if m["built_in"]] == ["emoji", "photos", "shapes"]
    assert all(model.keys() == models[0].keys() for model in models)
    [siglip] = [m for m in models if m["name"] == "siglip/ViT-B-16-224"]
    assert siglip["repo"] == "timm/ViT-B-16-SigLIP"
    assert siglip["source"].startswith("mlfoundations/open_clip")
    assert siglip["cached"] is False


def test_the_built_in_models_weights_are_counted_without_batch_norm_s_statistics(cache, capsys):
    from clip_lab.model import CLIPConfig
    from clip_lab.pretrained import WEIGHTS

    assert main(["models", "--json"]) == 0
    for model in json.loads(capsys.readouterr().out)[:3]:
        config = json.loads((WEIGHTS / model["name"] / "config.json").read_text())["model"]
        with torch.device("meta"):
            assert model["parameters"] == millions(CLIP(CLIPConfig.from_dict(config)))


def test_a_filter_that_fits_nothing_says_what_is_close(cache, capsys):
    assert main(["models", "ViT-H/14"]) == 2
    assert "Did you mean “laion/ViT-H-14”" in capsys.readouterr().err


def test_the_table_asks_no_network_and_loads_no_http_library():
    code = (
        "import socket, sys\n"
        "socket.socket.connect = None\n"
        "from clip_lab.cli import main\n"
        "main(['models'])\n"
        "heavy = ('httpx', 'httpx2', 'requests', 'huggingface_hub.hf_api', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
