"""`clip-lab eval`: a model measured on a public test set."""

import argparse
from pathlib import Path

from clip_lab.errors import LabError
from clip_lab.model_options import MODEL_HELP, add_model_options, load_model

EXAMPLES = """\
try:
  clip-lab eval emoji path/to/wds_cifar10
  clip-lab eval openai/ViT-B-32 path/to/imagenet/val --templates imagenet-7 --output b32.json
  clip-lab eval openai/ViT-B-32 https://huggingface.co/datasets/clip-benchmark/wds_flickr8k
"""


def add_eval(commands) -> None:
    """Add the command to argparse's subparsers."""
    help = "measure a model on a public test set"
    command = commands.add_parser(
        "eval",
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=run_eval)
    command.add_argument("model", help=MODEL_HELP)
    command.add_argument(
        "dataset", help="folder or address in CLIP_benchmark's layout, or a folder with one a class"
    )
    command.add_argument(
        "--templates",
        nargs="+",
        metavar="TEMPLATE",
        default=[],
        help="prompts with {} for the class, a file of such, or OpenAI's by name: imagenet, "
        "imagenet-7, cifar10, … (default: those that the data set brings)",
    )
    command.add_argument("--batch-size", type=int, default=32, help="pictures (default: 32)")
    command.add_argument("--output", metavar="FILE.json", help="write the result here as well")
    add_model_options(command)


def run_eval(options: argparse.Namespace) -> None:
    """Print the figures as a table; write them to --output with all that made them."""
    from clip_lab.data.prompts import templates_of
    from clip_lab.evaluation.public import evaluate

    if options.batch_size < 1:
        raise LabError("--batch-size should be 1 or more.")
    if options.output and Path(options.output).is_dir():  # better said now than in an hour
        raise LabError(f"“{options.output}” is a folder. Give --output a file's name.")
    templates = templates_of(options.templates)
    encoder = load_model(options)
    result = evaluate(encoder, options.dataset, templates, options.batch_size, progress=True)
    print(result.table())
    if options.output:
        result.save(Path(options.output))
        print(f"Written to {options.output}.")
