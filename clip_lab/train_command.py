"""`clip-lab train`, and `python -m clip_lab.training` for torchrun; `clip-lab blend`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clip_lab.errors import LabError
from clip_lab.model_options import MODEL_HELP, add_model_options, load_model, positive

EXAMPLES = """\
try:
  clip-lab train --data shapes --minutes 2
  clip-lab train --data emoji --steps 4000 --out runs/emoji
  clip-lab train --data captions.csv --weights openai/ViT-B-32 --image-rate 0 --steps 2000
  torchrun --nproc-per-node 8 -m clip_lab.training --data shards/ --architecture ViT-B-32 \\
      --batch-size 32768 --pieces 16 --steps 400000 --out runs/mine
"""
BUILT_IN = ("emoji", "shapes", "shapes-vit", "photos")


def add_train(commands) -> None:
    """Add the command to argparse's subparsers."""
    help = "train a model"
    command = commands.add_parser(
        "train",
        help=help,
        description="Train a model.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_train_options(command)


def add_train_options(command: argparse.ArgumentParser) -> None:
    """Everything that a run can be told."""
    command.set_defaults(run=run_train)
    add = command.add_argument
    add(
        "--data",
        required=True,
        help="emoji, shapes, shapes-vit, photos; or pictures with captions: a folder, "
        "WebDataset shards, a CSV, TSV or Parquet file",
    )
    add("--pictures", metavar="FOLDER", help="where the pictures of --data photos are")
    add("--picture-column", metavar="NAME", help="of a table (default: the usual names)")
    add("--caption-column", metavar="NAME", help="of a table (default: the usual names)")
    length = command.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=positive(float), help="how long to train (default: 2)")
    length.add_argument("--steps", type=positive(int), help="how many batches to train on")
    add("--out", help="folder for the model (default: runs/DATA)")
    add("--resume", action="store_true", help="go on with the run in --out, if there is one")
    add("--device", help="cpu, cuda, … (default: the GPU where there is one)")
    add("--threads", type=positive(int), help="processor threads (default: all)")
    _add_start(command.add_argument_group("what to start from"))
    _add_learning(command.add_argument_group("how to learn"))
    _add_cost(command.add_argument_group("what it may cost"))
    _add_keeping(command.add_argument_group("what to keep and tell"))


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--weights", metavar="MODEL", help=f"{MODEL_HELP} (default: the data's own recipe)"
    )
    group.add_argument(
        "--architecture", metavar="NAME", help="a new model of the paper's: ViT-B-32, RN50, …"
    )
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="another one for --weights")
    group.add_argument("--seed", type=int, default=0)


def _add_learning(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--batch-size", type=positive(int), default=256, help="of all processes (default: 256)")
    add("--loss", choices=["info_nce", "sigmoid"], default="info_nce")
    add("--learning-rate", type=positive(float), help="peak (default: the recipe's, or 5e-4)")
    add("--weight-decay", type=float, help="(default: the recipe's, or 0.2)")
    add("--warmup", type=int, help="steps (default: the recipe's, or 2000)")
    add("--image-rate", type=float, default=1.0, help="times the learning rate; 0 locks the tower")
    add("--text-rate", type=float, default=1.0, help="times the learning rate; 0 locks the tower")
    add("--patch-dropout", type=float, default=0.0, metavar="SHARE", help="of a ViT's patches")


def _add_cost(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--pieces", type=positive(int), default=1, help="compute a batch in so many, exactly")
    add("--precision", choices=["auto", "float32", "bfloat16", "float16"], default="auto")
    add("--recompute", action="store_true", help="gradient checkpointing: slower, less memory")
    add("--compile", action="store_true", help="torch.compile: a slow first step, faster others")
    add("--workers", type=int, default=1, help="processes that prepare batches (default: 1)")


def _add_keeping(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--save-every", type=float, default=60.0, help="seconds (default: 60)")
    add("--keep-every", type=positive(int), metavar="STEPS", help="keep the model of every so many")
    add("--keep-at", metavar="STEPS", help="keep these steps' models: 0,10,100")
    add("--log-every", type=positive(int), default=10, help="steps (default: 10)")
    add("--measure-every", type=positive(int), metavar="STEPS", help="(default: a tenth of a run)")
    add("--measure-on", metavar="SET", help="a test set, as for clip-lab eval, or a table")
    add("--tensorboard", action="store_true", help="curves in OUT/tensorboard as well")


def run_train(options: argparse.Namespace) -> None:
    """Train; Ctrl-C ends with a usable model, --resume goes on."""
    import torch

    from clip_lab.pretrained import choose_device
    from clip_lab.training import train
    from clip_lab.training.checkpoint import STATE_FILE
    from clip_lab.training.distributed import process_group, rank

    if options.threads:
        torch.set_num_threads(options.threads)
    folder = Path(options.out or f"runs/{Path(options.data).stem}")
    begun = (folder / STATE_FILE).exists()
    if begun and not options.resume:
        raise LabError(
            f"“{folder}” holds a run already. Go on with it by --resume, or choose another --out."
        )
    with process_group(choose_device(options.device)) as device:
        encoder = starting_model(options)
        encoder.model.to(device)
        config, data = train_config(options), training_data(options, encoder)
        progress = train(encoder, data, config, folder, begun, measurement(options))
        if rank() == 0:
            print(f"{progress.step} steps in {progress.seconds:.0f} s. The model is in {folder}:")
            print(f"  clip-lab app --model {folder}")


def starting_model(options: argparse.Namespace) -> Any:
    """What --weights, --architecture or the data's recipe say to begin with."""
    from clip_lab.pretrained import load
    from clip_lab.training.architectures import fresh
    from clip_lab.training.recipes import recipe

    if options.weights and options.architecture:
        raise LabError("Give --weights to go on from, or --architecture for new ones, not both.")
    if options.weights:
        return load(options.weights, "cpu", image_size=options.image_size)
    if options.architecture:
        return fresh(options.architecture, options.seed, options.loss == "sigmoid")
    if options.data in BUILT_IN:
        return recipe(options.data).encoder(options.data, options.seed)
    raise LabError(
        "Say what to train: --architecture ViT-B-32 for a new model, or --weights MODEL for one "
        "that has learnt already."
    )


def training_data(options: argparse.Namespace, encoder: Any) -> Any:
    """The batches of --data, at the model's size."""
    from clip_lab.training.recipes import recipe

    size = encoder.preprocess.size
    if options.data in BUILT_IN:
        pictures = Path(options.pictures) if options.pictures else None
        return recipe(options.data).pairs(options.batch_size, size, options.seed, pictures)
    from clip_lab.data.file_pairs import FilePairs
    from clip_lab.data.pair_sources import open_pairs
    from clip_lab.training.distributed import first_before_others

    with first_before_others() as first:  # the first to open shards writes down where what is
        source = open_pairs(options.data, options.picture_column, options.caption_column)
    for note in source.notes if first else ():
        print(f"clip-lab: {note}", file=sys.stderr)
    return FilePairs(source, options.batch_size, size, options.seed)


def train_config(options: argparse.Namespace) -> Any:
    """The options as a TrainConfig; what isn't given is the recipe's, or the paper's."""
    from clip_lab.training import TrainConfig
    from clip_lab.training.recipes import RECIPES

    recipe = None if options.weights or options.architecture else RECIPES.get(options.data)
    defaults = (recipe.learning_rate, recipe.weight_decay, recipe.warmup) if recipe else ()
    names = ("learning_rate", "weight_decay", "warmup")
    given = {
        name: default if getattr(options, name) is None else getattr(options, name)
        for name, default in zip(names, defaults or (5e-4, 0.2, 2000), strict=True)
    }
    same = ("loss", "image_rate", "text_rate", "patch_dropout", "pieces", "precision", "recompute")
    same += ("compile", "workers", "save_every", "keep_every", "log_every", "tensorboard", "seed")
    every = options.measure_every or (max(1, options.steps // 10) if options.steps else None)
    return TrainConfig(
        steps=options.steps,
        minutes=options.minutes or (None if options.steps else 2.0),
        measure_every=every,
        keep_at=_steps(options.keep_at),
        **given,
        **{name: getattr(options, name) for name in same},
    )


def _steps(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(step) for step in text.split(",")) if text else ()
    except ValueError as error:
        raise LabError("--keep-at takes steps with commas between them: 0,10,100.") from error


def measurement(options: argparse.Namespace) -> Callable[[Any], dict[str, Any]] | None:
    """How to measure the model on the way: on --measure-on, else on the built-in data's test."""
    if options.measure_on:
        return _measurement_on(options.measure_on)
    if options.data == "photos":
        from clip_lab.data.photos import read_photos
        from clip_lab.evaluation import photos

        pictures = read_photos(Path(options.pictures), "val")
        return lambda encoder: photos.quick_look(encoder, pictures)
    if options.data in BUILT_IN:
        from clip_lab import evaluation
        from clip_lab.training.recipes import recipe

        return getattr(evaluation, recipe(options.data).data).quick_look
    return None


def _measurement_on(place: str) -> Callable[[Any], dict[str, Any]]:
    """Zero-shot or retrieval on a public set; retrieval among the pairs of a table."""
    if Path(place).is_file():
        from clip_lab.data.pair_sources import open_pairs
        from clip_lab.evaluation.pairs import retrieval_among

        source = open_pairs(place)
        return lambda encoder: _plain(retrieval_among(encoder, source).to_dict())
    from clip_lab.evaluation.public import evaluate, open_public_set

    open_public_set(place)  # what isn't there is better said now
    return lambda encoder: _plain(evaluate(encoder, place).result.to_dict())


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if isinstance(value, float | int | str)}


# -- blend ----------------------------------------------------------------------------------------


def add_blend(commands) -> None:
    """Add the command to argparse's subparsers."""
    help = "average a fine-tuned model with the one it came from (WiSE-FT)"
    command = commands.add_parser("blend", help=help, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(run=run_blend)
    command.add_argument("original", help=MODEL_HELP)
    command.add_argument("tuned", help="the same model after more training")
    command.add_argument(
        "--share", type=float, default=0.5, help="of the tuned one, 0 to 1 (default: 0.5)"
    )
    command.add_argument("--out", required=True, help="folder for the result")
    add_model_options(command)


def run_blend(options: argparse.Namespace) -> None:
    """Write the weighted mean of two models' weights."""
    from clip_lab.pretrained import save
    from clip_lab.training.blend import blend

    original, tuned = (
        load_model(argparse.Namespace(**vars(options) | {"model": name}))
        for name in (options.original, options.tuned)
    )
    save(blend(original, tuned, options.share), options.out)
    print(f"The model is in {options.out}.")
