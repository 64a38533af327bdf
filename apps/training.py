"""Watch a training: the run that made the shapes model, and one of your own, live."""

from collections import OrderedDict
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import Any

import gradio as gr

from apps import theme
from apps.frame import QUICK, Frame, build
from apps.models import Models
from apps.panels import Value, moment_value, panel
from clip_lab import LabError
from clip_lab.experiments.moments import LIVE, Moment, replay, shown_pairs, train_live
from clip_lab.pretrained import load

INTRODUCTION = """## Training
Loss, temperature, matrix and map, step by step: first the run that made the built-in `shapes`
model, then **one of your own**, in about a minute. After that, choose it as a model in any tab."""
REPLAY_NOTE = (
    "Each stop is a set of weights that comes with the lab, for load(“shapes@300”) and so on."
)
ELSEWHERE = "On this page nobody's training runs: on your own machine, `clip-lab app` has it here."
LIVE_NOTE = "A ResNet and a text tower of 200,000 weights each, from chance, on drawn shapes."
MAX_SEED = 2**31 - 1
TRAINING: dict[str, Any] = {"concurrency_id": "training", "concurrency_limit": 1}


class Page:
    """What the controls call. `stopped` holds the visitors who asked to stop."""

    def __init__(self, frame: Frame):
        self.frame, self.pairs = frame, shown_pairs()
        self.stopped: OrderedDict[str, None] = OrderedDict()
        self.number = count(1)
        self.run = cache(lambda: list(replay(self.pairs)))

    def replayed(self, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Value:  # noqa: B008
        """The shipped run, as the card remembers its loss and the weights the rest."""
        progress(0, desc="Looking at the weights of every step")
        curve = load("shapes", "cpu").card["curve"]
        losses = [[line["step"], line["loss"]] for line in curve if "loss" in line]
        title = "the run that made “shapes”"
        run = self.run()
        return run_value(title, REPLAY_NOTE, losses, run, run[-1].step, 256)

    def live(self, seed: float | None, request: gr.Request) -> Iterator[Any]:
        """Panel, the two lists of models, what is said: after every moment of the training."""
        visitor, seed = request.session_hash or "", int(min(max(seed or 0, 0), MAX_SEED))
        self.stopped.pop(visitor, None)
        losses: list[list[float]] = []
        moments: list[Moment] = []
        name = f"yours {next(self.number)}"
        encoder, steps = train_live(self.pairs, seed)
        step = 0
        for step, loss, found in steps:
            if loss is not None:
                losses.append([step, loss])
            if found is not None:
                moments.append(found)
                value = run_value(name, LIVE_NOTE, losses, moments, LIVE.steps, LIVE.batch)
                yield value, gr.skip(), gr.skip(), f"Step {step} of {LIVE.steps} …"
            if visitor in self.stopped:
                break
        encoder.name, encoder.card = name, {"trained_on": f"{step} batches of drawn shapes, here"}
        encoder.model.eval()
        self.frame.models.add(encoder)
        lists = [gr.update(choices=choices) for choices in self.frame.choices()]
        yield gr.skip(), *lists, f"Done after {step} steps. Choose “{name}” as the model above."

    def stop(self, request: gr.Request) -> None:
        """The training ends after its current step; what it has learnt is kept."""
        self.stopped[request.session_hash or ""] = None
        while len(self.stopped) > 1000:  # of visitors who went away
            self.stopped.popitem(last=False)


def run_value(title: str, note: str, losses: list, moments: list[Moment], total: int,
              batch: int) -> Value:  # fmt: skip
    """What the panel draws, or a sentence where there is nothing yet."""
    if not moments:
        raise LabError("There is nothing to show of this training.")
    return {"title": title, "note": note, "total": total, "batch": batch, "losses": losses,
            "moments": [moment_value(one) for one in moments]}  # fmt: skip


def layout(frame: Frame) -> None:
    """The tab: the shipped run above, one's own below."""
    page = Page(frame)
    gr.Markdown(INTRODUCTION)
    play = gr.Button("Show the run that made “shapes”", variant="primary", elem_id="replay-play")
    shipped = panel("training", elem_id="replay")
    play.click(page.replayed, None, shipped, api_name="replay", concurrency_id="model")
    gr.Markdown("### Train one yourself")
    if frame.models.public:  # a minute of the processor for each visitor, and a name in all lists
        gr.Markdown(ELSEWHERE)
        return
    with gr.Row():
        seed = gr.Number(1, precision=0, minimum=0, maximum=MAX_SEED, label="Seed",
                         info="Another number: other weights, other pictures.")  # fmt: skip
        go, stop = gr.Button("Train for a minute", variant="primary"), gr.Button("Stop")
    said = gr.Markdown("", elem_id="training-said")
    own = panel("training", elem_id="live")
    go.click(page.live, seed, [own, *frame.bar, said], api_name="train", **TRAINING)
    stop.click(page.stop, None, None, **QUICK)


def build_demo(models: Models | None = None) -> gr.Blocks:
    """This app alone. Launch it with `theme.launch`."""
    return build("CLIP Lab: training", models, layout)


if __name__ == "__main__":
    theme.launch(build_demo())
