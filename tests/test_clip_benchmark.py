"""Figure for figure what CLIP_benchmark's own functions give: its reader, its metrics, its bars."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from wds_files import cifar10, picture, write_captions, write_classes

from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.public import evaluate, open_public_set
from clip_lab.model import CLIP, CONFIGS
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained import load
from clip_lab.tokenizer import Tokenizer

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:.*shardshuffle"),  # of webdataset, about its own default
]


class Benchmark:
    """CLIP_benchmark 1.6.2 as its command line runs it, in float32."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from clip_benchmark.datasets.builder import build_dataset, image_captions_collate_fn
        from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval

        # Its accuracy() says float(array of one number), which NumPy takes no longer since 2.4.
        number = lambda value: float(value.item() if hasattr(value, "item") else value)  # noqa: E731
        monkeypatch.setattr(zeroshot_classification, "float", number, raising=False)
        self.build, self.collate = build_dataset, image_captions_collate_fn
        self.classification, self.retrieval = zeroshot_classification, zeroshot_retrieval

    def _data(self, root: Path, transform: Any, task: str) -> Any:
        return self.build("wds/any", root=str(root), transform=transform, split="test", task=task)

    def classify(self, root: Path, model: Any, transform: Any, tokenizer: Any) -> dict[str, float]:
        data = self._data(root, transform, "zeroshot_classification")
        loader = torch.utils.data.DataLoader(data.batched(64), batch_size=None)
        return self.classification.evaluate(
            model, loader, tokenizer, data.classes, data.templates, "cpu", amp=False
        )

    def retrieve(self, root: Path, model: Any, transform: Any, tokenizer: Any) -> dict[str, float]:
        data = self._data(root, transform, "zeroshot_retrieval")
        loader = torch.utils.data.DataLoader(
            data.batched(16, collation_fn=self.collate), batch_size=None
        )
        return self.retrieval.evaluate(
            model, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10]
        )


@pytest.fixture
def benchmark(peers, monkeypatch) -> Benchmark:
    pytest.importorskip("clip_benchmark", reason="clip-benchmark is not installed")
    return Benchmark(monkeypatch)


def check(ours: dict[str, Any], theirs: dict[str, float], pictures: int) -> None:
    assert ours["top1"] == theirs["acc1"]
    assert ours["top5"] == theirs["acc5"]
    assert ours["mean_per_class_recall"] == pytest.approx(
        theirs["mean_per_class_recall"], abs=1e-12
    )
    assert (ours["top1"] * pictures) == pytest.approx(round(ours["top1"] * pictures), abs=1e-9)


def test_cifar10_by_the_emoji_model_and_by_a_random_vit_b_32(peers, benchmark, tmp_path):
    root = cifar10(tmp_path)
    emoji = load("emoji", "cpu")
    ours = evaluate(emoji, root)
    theirs = benchmark.classify(root, emoji.model, emoji.preprocess, emoji.tokenizer)
    check(ours.result.to_dict(), theirs, ours.result.accuracy.pictures)
    assert 0 < ours.result.accuracy.top1 < 1  # neither nothing nor everything is right

    few = subset(root, tmp_path / "subset", pictures=24)
    model, transform = random_vit_b_32(peers)
    tokenizer = peers.open_clip.get_tokenizer("ViT-B-32")
    theirs = benchmark.classify(few, model, transform, tokenizer)
    ours = evaluate(in_our_lines(peers, model), few)
    check(ours.result.to_dict(), theirs, 24)
    assert 0 < ours.result.accuracy.top5 < 1


def subset(root: Path, folder: Path, pictures: int) -> Path:
    """Every n-th picture and two templates: a ViT-B/32 takes a tenth of a second for each."""
    public_set = open_public_set(root)
    samples = [(sample.image, sample.target) for sample in public_set.samples()]
    chosen = samples[:: len(samples) // pictures - 1][:pictures]
    templates = [template.replace("{}", "{c}") for template in public_set.templates[:2]]
    return write_classes(folder, chosen, public_set.classes, templates)


def random_vit_b_32(peers) -> tuple[nn.Module, Any]:
    torch.manual_seed(2)
    name = "ViT-B-32-quickgelu"
    model, _, transform = peers.open_clip.create_model_and_transforms(name, pretrained=None)
    return model.eval(), transform


def in_our_lines(peers, model: nn.Module) -> DualEncoder:
    with torch.device("meta"):
        ours = CLIP(CONFIGS["ViT-B-32"])
    ours.load_state_dict(model.state_dict(), assign=True)
    return DualEncoder(ours, Tokenizer.from_openai(peers.openai_merges), Preprocess(224), "random")


def test_retrieval_with_several_captions_a_picture(benchmark, tmp_path):
    emoji = load("emoji", "cpu")
    things = ["sun", "moon", "star", "heart", "apple", "house", "tree", "fish", "cat", "dog"]
    samples = []
    for i in range(75):
        captions = [f"{things[i % 10]} {i}", f"a {things[i // 8]} and {i}", f"{i}"]
        colour = (i * 17 % 255, i * 31 % 255, i * 7 % 255)
        samples.append((picture(i, colour), captions[: 1 + i % 3]))
    root = write_captions(tmp_path / "wds_things", samples)
    theirs = benchmark.retrieve(root, emoji.model, emoji.preprocess, emoji.tokenizer)
    ours = evaluate(emoji, root).result.to_dict()
    assert len(theirs) == 6
    for name, recall in theirs.items():
        assert ours[name] == pytest.approx(recall, abs=1e-6), name
    assert 0 < ours["image_retrieval_recall@10"] < 1
