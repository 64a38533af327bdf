"""What visitors do: each kind of request, with inputs that differ from one to the next."""

from collections.abc import Awaitable, Callable
from random import Random

from benchmarks.dashboard.visitors import Visitor

Kind = Callable[[Visitor, Random], Awaitable[object]]
SAMPLES, EMOJI = 12, 1000  # pictures to click; rows of the map to choose from
WORDS = ("red fruit", "an animal in the sea", "something to drink", "music", "a vehicle", "weather",
         "a smiling face", "tools", "a building", "flowers", "sport", "a flag")  # fmt: skip
PLACES = ("emoji-noto", "emoji-twemoji", "emoji-fluent", "emoji-openmoji")


async def classify(guest: Visitor, chance: Random) -> object:
    """A sample is clicked: its picture comes, then what it is."""
    picture = guest.sample(chance.randrange(SAMPLES))
    return await guest.ask("classify", {0: picture})


async def labels(guest: Visitor, chance: Random) -> object:
    """Other labels are written."""
    words = [f"{word} {chance.randrange(100)}" for word in chance.sample(WORDS, 8)]
    return await guest.ask("classify", {1: "\n".join(words)})


async def matrix(guest: Visitor, chance: Random) -> object:
    chosen = ",".join(map(str, chance.sample(range(SAMPLES), 6)))
    captions = "\n".join(chance.sample(WORDS, 6))
    return await guest.ask("matrix", {2: chosen, 4: captions})


async def search(guest: Visitor, chance: Random) -> object:
    words = " and ".join(chance.sample(WORDS, 2))
    return await guest.ask("search", {2: words, 3: chance.choice(PLACES)})


async def near(guest: Visitor, chance: Random) -> object:
    """A point of the map is clicked."""
    return await guest.ask("near", {0: str(chance.randrange(EMOJI))})


async def opened_map(guest: Visitor, chance: Random) -> object:
    return await guest.ask("map", {2: chance.choice(["gap", "pca", "umap"])})


async def templates(guest: Visitor, chance: Random) -> object:
    picture = guest.sample(chance.randrange(SAMPLES))
    return await guest.ask("templates", {0: picture, 3: "emoji"})


async def where(guest: Visitor, chance: Random) -> object:
    picture = guest.sample(chance.randrange(SAMPLES))
    return await guest.ask("where", {0: picture})


async def inside(guest: Visitor, chance: Random) -> object:
    picture = guest.sample(chance.randrange(SAMPLES))
    return await guest.ask("inside", {2: picture, 3: chance.choice(WORDS)})


async def limits(guest: Visitor, chance: Random) -> object:
    return await guest.ask("believe", {2: str(chance.randrange(1, 6))})


async def audit(guest: Visitor, chance: Random) -> object:
    return await guest.ask("audit", {2: "\n".join(chance.sample(WORDS, 4))})


# How often each is done by those who come at once, and by whom memory is watched.
AT_ONCE: dict[Kind, int] = {classify: 6, labels: 3, matrix: 4, search: 4, near: 2, opened_map: 1}
ALL: dict[Kind, int] = AT_ONCE | {templates: 2, where: 2, inside: 1, limits: 3, audit: 1}


def chosen(kinds: dict[Kind, int], chance: Random) -> Kind:
    return chance.choices(list(kinds), list(kinds.values()))[0]
