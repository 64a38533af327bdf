"""A small run that test_training.py kills: `python tests/kill_worker.py OUT [--resume]`."""

import sys
from pathlib import Path

import torch

from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer
from clip_lab.training import TrainConfig, train

STEPS = 90

if __name__ == "__main__":
    torch.set_num_threads(1)
    pairs = ShapesPairs(batch_size=8, size=32)
    tokenizer = Tokenizer.train(pairs.batch(0).captions, 560, 24)
    torch.manual_seed(0)
    text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 2), text))
    config = TrainConfig(
        steps=STEPS,
        warmup=5,
        workers=1,
        patch_dropout=0.5,
        pieces=2,
        precision="bfloat16",
        save_every=0.0,  # as often as it can, so that many kills fall into a write
        log_every=1,
        keep_at=(0, 20, 40),
    )
    encoder = DualEncoder(model, tokenizer, Preprocess(32), "killed")
    train(encoder, pairs, config, Path(sys.argv[1]), resume="--resume" in sys.argv)
