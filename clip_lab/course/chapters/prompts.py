"""Chapter 10: prompts and ensembling. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

from typing import Any

import torch
from torch import Tensor

from clip_lab.course.chapters.zero_shot import Reader
from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, drawn, unit
from clip_lab.course.words import ANSWERS

ANSWERS["eighty templates"] = """
    The paper's gain was measured on photographs from the web, with a model whose captions were
    sentences: there a bare name was the odd one out, and templates brought the prompt nearer to
    what training had shown. The same templates say “a bad photo of” or “graffiti of” to a shop
    whose pictures are neither, and the mean moves away from what its pictures look like. So the
    paper can be right and the product too. Choose a few templates that are true of the pictures,
    judge them on pictures that they weren't chosen on, and keep the ensemble if it still wins: at
    run time it costs nothing.
"""


# -- a template ---------------------------------------------------------------------------------


@exercise(
    "fill_gap",
    hints=(
        "What should happen to a brace that isn't the gap? And what is a prompt worth in which no "
        "name stands?",
        "str.format reads every brace as an instruction to itself. Another method of strings only "
        "looks for one piece of text and puts another in its place.",
        "First look whether the two characters {} occur in the template at all, and raise an error "
        "(ValueError will do) if they don't. Then replace them, wherever they stand.",
    ),
)
def _fill_gap(answer: Answer) -> str:
    said = answer("a photo of a {}.", "seal")
    if said != "a photo of a seal.":
        _diagnose_plain(said)
    for template, name, wanted, diagnosis in (
        ("{}, as in {}", "bat", "bat, as in bat", "Only the first gap is filled; a template may "
         "name the class twice."),
        ("{c} is {}", "a bat", "{c} is a bat", "A brace that isn't the gap is an instruction to "
         "str.format. Templates come from files and from users: with “{:>300000000}” one would "
         "ask for 300 MB of spaces. Replace the two characters {} and nothing else."),
        ("{:>9} {}", "bat", "{:>9} bat", "“{:>9}” was carried out as an instruction. Replace the "
         "two characters {} and nothing else."),
        ("the {}", "{}", "the {}", "A name may hold braces too; it goes in as it is."),
    ):  # fmt: skip
        said = _tried(answer, template, name)
        if isinstance(said, Exception) and template != "{c} is {}":
            raise Wrong(
                f"For {template!r} and the name {name!r} it stops with {type(said).__name__}: "
                f"{said}. There is a gap in that. (It may stand at the very start, and twice; the "
                "prompt may even come out the same.)"
            )
        if said != wanted:
            raise Wrong(diagnosis)
    for template in ("a photo", "a bat"):
        if not isinstance(_tried(answer, template, "bat"), Exception):
            raise Wrong(
                f"“{template}” has no gap. Every class would get the same prompt, and all shares "
                "would be equal, without an error. Raise one."
            )
    return "Only the gap is filled, and a template without one is refused."


def _diagnose_plain(said: Any) -> None:
    if not isinstance(said, str):
        raise Wrong(f"A prompt is a string; this is a {type(said).__name__}.")
    if "{}" in said:
        raise Wrong(f"In {said!r} the gap is still open.")
    if "seal" not in said:
        raise Wrong(f"The prompt is {said!r}: the name isn't in it.")
    raise Wrong(f"The prompt is {said!r}; “a photo of a seal.” was expected, to the letter.")


def _tried(answer: Answer, template: str, name: str) -> Any:
    """What the function returns, or the error that it raises."""
    try:
        return answer.function(template, name)
    except Exception as raised:
        return raised


# -- many templates, one vector -------------------------------------------------------------------


@exercise(
    "ensemble_weights",
    hints=(
        "Three classes and four templates: how many prompts, how many vectors, and which of them "
        "belong to class 1?",
        "A list of all prompts, class by class, gives classes x templates rows; unflatten or "
        "reshape splits the first axis in two. In which order were the prompts written down?",
        "The mean runs over the axis of the templates. It is shorter than 1 (why?): scale each row "
        "at the end.",
    ),
)
def _ensemble(answer: Answer) -> str:
    names = ["violin", "moon", "apple"]
    templates = ["{}", "a drawing of {}", "{} emoji", "an icon of {}"]
    reader = Reader()
    result = answer.tensor(reader, names, templates, shape=(3, 5), means="one row a class")
    every = torch.stack([_prompts(name, templates) for name in names])  # (class, template, d)
    if len(set(reader.read)) == 3:
        raise Wrong("The encoder got one prompt a class. Each class has as many as templates.")
    if len(set(reader.read)) != 12:
        raise Wrong(
            f"The encoder got {len(set(reader.read))} different prompts; three names in four "
            "templates make 12."
        )
    means = every.mean(1)
    compare(result, unit(means), _ensemble_mistakes(every, means))
    return "Four prompts a class, one vector of length 1: as small as with one template."


def _prompts(name: str, templates: list[str]) -> Tensor:
    texts = ["".join([before, name, after]) for before, _, after in
             (template.partition("{}") for template in templates)]  # fmt: skip
    return torch.stack([Reader.vector(text) for text in texts]).double()


def _ensemble_mistakes(every: Tensor, means: Tensor) -> Mistakes:
    by_template = every.transpose(0, 1).flatten(0, 1)  # all classes' first prompts, then ...
    mixed, crossed = by_template.unflatten(0, (3, 4)), every.flatten(0, 1).unflatten(0, (4, 3))
    mix = (
        "The rows mix classes: prompts were written down in one order and split in the other "
        "(template by template, class by class). The shapes fit either way, so nothing complains."
    )
    return [
        (means, "These are the means, and shorter than 1: a class whose prompts disagree gets "
         "lower logits from every picture. Scale each row to length 1."),
        (every.sum(1), "These are sums: make each row length 1."),
        (unit(mixed.mean(1)), mix),
        (mixed.mean(1), mix),
        (unit(crossed.mean(0)), mix),
        (unit(every[:, 0]), "Only the first template takes part."),
        (unit(every[:, -1]), "Only the last template is left: earlier ones were overwritten."),
        (means / means.norm(), "All rows were divided by one number. Each class needs its own "
         "length."),
        (unit(means.T).T, "Your columns have length 1. A class is a row."),
    ]  # fmt: skip


@exercise(
    "average_shares",
    hints=(
        "Each template is a classifier of its own. Let each of them finish its work, up to the "
        "shares; then let them vote.",
        "All cosines at once have three axes: picture, class, template. Over which of them do the "
        "shares of one classifier sum to 1?",
        "torch.einsum can write (n, classes, templates). Times the scale, softmax along the "
        "classes, mean along the templates.",
    ),
)
def _average_shares(answer: Answer) -> str:
    images, texts = unit(drawn(4, 6, seed=1)), unit(drawn(3, 5, 6, seed=2))
    scale = 6.0
    result = answer.tensor(images.float(), texts.float(), scale, shape=(4, 3),
                           means="a share for each picture and class")  # fmt: skip
    logits = scale * torch.einsum("nd,ctd->nct", images, texts)
    right = logits.softmax(1).mean(2)
    mistakes = [
        (logits.mean(2).softmax(1), "The logits were averaged, then one softmax: that is one "
         "classifier with the mean vector (not of length 1). Let each template have its softmax."),
        ((scale * images @ unit(texts.mean(1)).T).softmax(1), "That is the ensemble of vectors. "
         "Here each template has a softmax of its own, and the shares are averaged."),
        (logits.softmax(2).mean(2), "Here templates compete with each other: the softmax runs over "
         "them. Classes should compete, within one template."),
        (logits.softmax(1).sum(2), "The shares of all templates are added up: a row sums to their "
         "number. Take the mean."),
        ((logits / scale).softmax(1).mean(2), "The scale takes no part: every share is close to "
         "1/classes."),
        (logits.flatten(1).softmax(1).view_as(logits).sum(2), "One softmax over all prompts, then "
         "a sum for each class: a template that likes everything gets most votes. One softmax for "
         "each template."),
        (logits.mean(2), "These are mean logits. Shares were asked for."),
        ((logits / scale**2).softmax(1).mean(2), "Divided by the scale. It is 1/τ already: "
         "multiply."),
        (logits.softmax(0).mean(2), "Here pictures compete with each other: the softmax runs over "
         "them. Classes should compete, for one picture."),
        (logits.softmax(1).amax(2), "This is each class's best share of any template. A row sums "
         "to more than 1. Take the mean."),
        (torch.nn.functional.one_hot(logits.argmax(1), 3).double().mean(1), "Each template has one "
         "vote here, for its first class. Let it share its vote: average the shares."),
    ]  # fmt: skip
    compare(result, right, mistakes)
    return "Every template votes with its own shares. A row still sums to 1."
