"""Chapter 16, the exercises at its end: overlap, what all texts share, deletion."""

import torch
from torch import Tensor

from clip_lab.course.chapters.looking_in import Score
from clip_lab.course.checks import Answer, compare, exercise
from clip_lab.course.trial import doubled, drawn, numbers


@exercise(
    "mask_iou",
    hints=(
        "Two areas: what was marked, and what is true. Which pixels are in both, and which in at "
        "least one?",
        "& and | join tensors of yes and no, pixel by pixel. Count the yeses over rows and "
        "columns, for each picture by itself.",
        "Both counts have shape (n,). Their quotient is the answer: intersection over union.",
    ),
)
def _mask_iou(answer: Answer) -> str:
    marked, true = drawn(5, 6, 6, seed=8) > 0.2, drawn(5, 6, 6, seed=9) > -0.3
    marked[0] = true[0]
    marked[1] |= true[1]  # else the true area would always be the larger one
    result = numbers(answer(marked, true), (5,), "one number for each picture")
    both, either = (marked & true).sum((1, 2)), (marked | true).sum((1, 2))
    sizes = marked.sum((1, 2)), true.sum((1, 2))
    mistakes = [
        (2 * both / (sizes[0] + sizes[1]), "This is the Dice score, 2·both/(one + other). IoU "
         "divides by the union, which counts what they share once."),
        (both / (sizes[0] + sizes[1]), "The two areas were added, so what they share counts "
         "twice. The union counts it once."),
        (both / sizes[1], "Divided by the true area: who marks everything would be perfect."),
        (both / sizes[0], "Divided by the marked area: who marks one pixel rightly would be "
         "perfect."),
        (both / torch.maximum(*sizes), "Divided by the larger of the two areas. The union holds "
         "the rest of the smaller one as well."),
        (both / torch.minimum(*sizes), "Divided by the smaller of the two areas. Divide by the "
         "union of both."),
        (1 - both / either, "This is one minus the IoU: 0 for two equal areas."),
        (both / 36, "Divided by the whole picture. Divide by the union of the two areas."),
        ((marked == true).double().mean((1, 2)), "Pixels outside both count as agreement: a "
         "small thing would score high though nothing was found."),
        ((both.sum() / either.sum()).expand(5), "One number for the whole batch. Each picture "
         "has its own IoU."),
    ]  # fmt: skip
    compare(result, (both / either).double(), doubled(mistakes))
    return "1: the same area; 0: none in common. Marking too much costs, and so does too little."


@exercise(
    "less_shared",
    hints=(
        "If the map for “a red star” and the map for “a blue ring” shine at the same spot, what "
        "does that spot say about stars?",
        "At each place, find the mean over all *texts*, and look at what is left without it.",
        "The texts are the first axis: its mean, kept as length 1 or not, subtracts from every "
        "text's map by broadcasting.",
    ),
)
def _less_shared(answer: Answer) -> str:
    maps = drawn(5, 3, 4, seed=10) + 2 * drawn(3, 4, seed=11)
    result = answer.tensor(maps, shape=(5, 3, 4), means="a map for each text")
    m = maps.double()
    others = (m.sum(0) - m) / 4
    mistakes = [
        (m - m.mean((1, 2), keepdim=True), "The mean over *places* was taken off each map. What "
         "texts share is a mean over texts, one for each place."),
        (m - m.mean(), "One number was taken off everything: no map changed its form."),
        (m - others, "The mean of the *other* texts was taken off: the same but for a factor, "
         "5/4 here. Take the mean of all."),
        (m.softmax(0), "A softmax over the texts gives shares. A difference was asked for."),
        (m - m.amax(0), "The largest text was taken off. Take the mean."),
        (m - m.median(0).values, "The median was taken off. Take the mean."),
        (m / m.mean(0), "The maps were divided by their mean. Take it off."),
        ((m - m.mean(0)).relu(), "What lies below the mean was cut to 0. Leave it negative: there "
         "the text is less than the others."),
        ((m - m.mean(0)) / m.std(0), "The difference was also divided by the spread. The mean is "
         "enough."),
        (m.mean(0).expand(5, 3, 4), "This is what they share. Take it off."),
    ]  # fmt: skip
    compare(result, m - m.sum(0) / 5, mistakes)
    return "What is left is what this text has and the others haven't."


@exercise(
    "deletion_curve",
    hints=(
        "If the map is right, covering its hottest pixels first must cost the most. So cover them "
        "in that order, and write down the score as you go.",
        "Sort the pixels by heat, hottest first. After step k of `steps`, the first k/steps of "
        "them show the picture's mean colour, all together. Step 0 covers nothing.",
        "argsort of the flattened map, descending. For each k, a clone of the picture, flattened "
        "to (3, pixels), with the first round(k·pixels/steps) places set to the mean; the scores "
        "of all steps + 1 pictures in one batch.",
    ),
)
def _deletion_curve(answer: Answer) -> str:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(12))
    heat, score, steps = drawn(6, 6, seed=13), Score(14), 4
    result = numbers(answer(picture, heat, score, steps), (5,), "steps + 1 scores, from untouched")
    order, mean = heat.flatten().argsort(descending=True), picture.mean((1, 2), keepdim=True)

    def along(order: Tensor, colour: Tensor | float = mean, start: bool = False) -> Tensor:
        ranks = order.argsort().reshape(6, 6)  # of each pixel
        rows = []
        for k in range(steps + 1):
            low, high = (9 * (k - 1) if start else 0), 9 * k
            rows.append(torch.where((low <= ranks) & (ranks < high), colour, picture))
        return score(torch.stack(rows)).double()

    right, left = along(order), 36 - 9 * torch.arange(steps + 1)
    ranks = order.argsort().reshape(6, 6)
    kept = score(torch.stack([torch.where(ranks >= 36 - n, mean, picture) for n in left])).double()
    mistakes = [
        (along(order.flip(0)), "The coldest pixels go first here."),
        (along(order, start=True), "Each step covers its own pixels only, and the earlier ones "
         "come back. What is covered stays covered."),
        (along(order, 0.0), "Covered pixels are black. Take the picture's mean colour."),
        (along(order, picture.mean()), "Covered pixels are grey: one mean for all channels. Take "
         "a mean for each."),
        (right.flip(0), "The curve runs backwards: it begins with the untouched picture."),
        (kept, "The curve begins with a blank picture and the hottest pixels come *in*. That is "
         "insertion, RISE's other curve; here they go."),
        (right[0] - right, "This is what was lost. The scores themselves were asked for."),
        (along(torch.arange(36)), "The pixels go in the order in which they stand, whatever the "
         "map says."),
    ]  # fmt: skip
    compare(result, right, mistakes)
    return "The sooner it falls, the better the map knew what mattered to the model."
