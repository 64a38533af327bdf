"""The `clip-lab` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clip_lab.errors import LabError
from clip_lab.eval_command import add_eval
from clip_lab.experiment_command import add_experiment
from clip_lab.grade_command import add_grade
from clip_lab.model_options import MODEL_HELP, add_model_options, load_model, positive
from clip_lab.models_command import add_models
from clip_lab.train_command import add_blend, add_train

if TYPE_CHECKING:
    from clip_lab.search import FolderIndex

EXAMPLES = """\
try:
  clip-lab app                                      open the dashboard in the browser
  clip-lab classify cat.png --labels cat,dog,car    which of these labels fits the picture?
  clip-lab search pictures/ "a red apple"           find pictures by words
  clip-lab train --data shapes --minutes 2          train a CLIP of your own
  clip-lab eval emoji path/to/wds_cifar10           measure a model on a public test set
  clip-lab experiment run binding                   measure a claim about CLIP
  clip-lab lab                                      open the course in JupyterLab
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status. Faults of the user's are a sentence on stderr."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    try:
        options.run(options)
    except LabError as error:
        print(f"clip-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("clip-lab: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `clip-lab search … | head`
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clip-lab",
        description="Build, train and see CLIP.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    trained = (add_train, add_blend, add_eval, add_experiment)
    for add in (_classify, _search, *trained, _app, _lab, add_grade, add_models, _info):
        add(commands)
    return parser


def _command(commands, name: str, run, help: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    command.set_defaults(run=run)
    return command


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default="emoji", help=f"{MODEL_HELP} (default: emoji)")
    add_model_options(command)


# -- classify -------------------------------------------------------------------------------------


def _classify(commands) -> None:
    command = _command(commands, "classify", run_classify, "say which label fits a picture")
    command.add_argument("picture", nargs="+", help="picture files")
    command.add_argument("--labels", required=True, help="names with commas between them: cat,dog")
    command.add_argument(
        "--template",
        action="append",
        help="prompt with {} for the label; several make an ensemble (default: {})",
    )
    command.add_argument(
        "--top", type=positive(int), default=5, help="how many labels to show (default: 5)"
    )
    _add_model(command)


def run_classify(options: argparse.Namespace) -> None:
    """Print, for each picture, labels with cosine, logit and probability."""
    from clip_lab.zero_shot import ZeroShotClassifier

    encoder = load_model(options)
    labels = [label for label in options.labels.split(",") if label.strip()]
    templates = options.template or ["{}"]
    classifier = ZeroShotClassifier(encoder, labels, templates, progress=True)
    for picture in options.picture:
        prediction = classifier([picture])
        print(f"{picture}   (scale {prediction.scale:.1f})")
        print(f"  {'cosine':>7}  {'logit':>7}  {'softmax':>7}  label")
        order = (-prediction.cosines[0]).argsort(kind="stable")[: options.top]
        for i in order:
            values = (prediction.cosines, prediction.logits, prediction.probabilities)
            cosine, logit, probability = (float(value[0, i]) for value in values)
            print(f"  {cosine:7.3f}  {logit:7.2f}  {probability:7.1%}  {prediction.labels[i]}")


# -- search ---------------------------------------------------------------------------------------


def _search(commands) -> None:
    command = _command(commands, "search", run_search, "find pictures in a folder by words")
    command.add_argument("folder", help="a folder of pictures, searched with all below it")
    command.add_argument(
        "query", nargs="*", help="what to look for: words, another picture's path, or several"
    )
    command.add_argument(
        "--minus", action="append", default=[], help="what to lead away from: words or a picture"
    )
    command.add_argument(
        "--top", type=positive(int), default=10, help="how many to show (default: 10)"
    )
    command.add_argument("--rebuild", action="store_true", help="index the folder anew")
    command.add_argument("--remove", action="store_true", help="delete the folder's index, and end")
    _add_model(command)


def run_search(options: argparse.Namespace) -> None:
    """Bring the folder's index up to date, then print the nearest pictures, best first."""
    from clip_lab.search import FolderIndex, Term, query_vector

    encoder = load_model(options)
    index = FolderIndex(options.folder, encoder)
    if options.remove:
        return index.remove()
    signs = [(1.0, content) for content in options.query] + [(-1.0, c) for c in options.minus]
    terms = [Term(content, sign, os.path.isfile(content)) for sign, content in signs]
    query = query_vector(encoder, terms)  # a fault in it is said before an hour's work
    if options.rebuild:
        index.remove()
    _follow(index)
    for hit in index.open().search(query, options.top).hits:
        print(f"{hit.score:6.3f}  {Path(options.folder) / hit.row['path']}")


def _follow(index: "FolderIndex") -> None:
    """Update with a bar, and say what was left out."""
    from tqdm.auto import tqdm

    if note := index.note():
        print(f"clip-lab: {note}", file=sys.stderr)
    left_out: tuple[str, ...] = ()
    with tqdm(unit=" pictures", leave=False, delay=1) as bar:
        for progress in index.update():
            bar.total, left_out = progress.total, progress.left_out
            bar.update(progress.done - bar.n)
    for message in left_out:
        print(f"clip-lab: left out: {message}", file=sys.stderr)


# -- app, lab, info -------------------------------------------------------------------------------


def _app(commands) -> None:
    command = _command(commands, "app", run_app, "open the dashboard")
    command.add_argument("--host", default="127.0.0.1", help="(default: this machine alone)")
    command.add_argument("--port", type=int, help="(default: the first free one from 7860)")
    command.add_argument(
        "--share", action="store_true", help="a public address, by Gradio's server"
    )
    command.add_argument(
        "--public",
        action="store_true",
        help="for visitors whom nobody knows: they can't make it download models or train one",
    )
    command.add_argument("--no-browser", action="store_true", help="don't open a browser window")
    command.add_argument(
        "--folder",
        action="append",
        default=[],
        help="a folder of pictures that whoever can reach the page may search; may be given "
        "several times (default: any, if the page is for this machine alone; else none)",
    )
    _add_model(command)


def run_app(options: argparse.Namespace) -> None:
    """Serve the Gradio page until Ctrl-C."""
    try:
        from apps.lab import main as app
        from apps.models import Models
    except ImportError as error:
        raise LabError(f"The apps need: pip install “clip-lab[apps]” ({error}).") from error
    app(
        Models(
            load_model(options), device=options.device, dtype=options.dtype, public=options.public
        ),
        host=options.host,
        port=options.port,
        share=options.share,
        open_browser=not options.no_browser,
        folders=options.folder,
    )


def _lab(commands) -> None:
    command = _command(commands, "lab", run_lab, "open the course in JupyterLab")
    command.add_argument("--folder", default="clip-lab-course", help="where your copies go")
    command.add_argument("--no-browser", action="store_true", help="don't open a browser window")


def run_lab(options: argparse.Namespace) -> None:
    """Copy the student notebooks that aren't there yet, and open the first."""
    from clip_lab.course.open import open_course

    open_course(Path(options.folder), open_browser=not options.no_browser)


def _info(commands) -> None:
    command = _command(commands, "info", run_info, "say what is installed and what a model is")
    command.add_argument("model", nargs="?", help=f"{MODEL_HELP} (default: all built in)")


def run_info(options: argparse.Namespace) -> None:
    """Print versions, the device, and the model cards."""
    import platform

    import torch

    import clip_lab
    from clip_lab.pretrained import choose_device, load, names

    print(f"clip-lab {clip_lab.__version__}, Python {platform.python_version()}, ", end="")
    print(f"torch {torch.__version__}, device {choose_device()}")
    for name in [options.model] if options.model else names():
        encoder = load(name, "cpu")
        weights = sum(p.numel() for p in encoder.model.parameters())
        print(f"\n{encoder.name}: {weights / 1e6:.1f} million weights, scale {encoder.scale:.1f}, ")
        print(
            f"  pictures of {encoder.preprocess.size} px, {len(encoder.tokenizer)} tokens, ", end=""
        )
        print(
            f"texts of up to {encoder.tokenizer.context_length - 2}, {encoder.embed_dim} dimensions"
        )
        for key, value in encoder.card.items():
            if key not in ("name", "curve"):
                _print_card(key, value, "  ")


def _print_card(key: str, value: object, indent: str) -> None:
    if isinstance(value, dict):
        print(f"{indent}{key.replace('_', ' ')}:")
        for inner, item in value.items():
            _print_card(inner, item, indent + "  ")
    else:
        print(f"{indent}{key.replace('_', ' ')}: {value}")


if __name__ == "__main__":
    sys.exit(main())
