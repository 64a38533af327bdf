"""Many visitors at once, who think between what they do; and one who asks a great deal."""

import asyncio
import time
from random import Random

import httpx

from benchmarks.dashboard.figures import Asked, Record, slope, told
from benchmarks.dashboard.kinds import ALL, AT_ONCE, PLACES, Kind, chosen
from benchmarks.dashboard.server import App, app_open
from benchmarks.dashboard.visitors import Visitor, visitor

THINK = (1.0, 3.0, 15.0)  # seconds at least, on average beyond that (exponential), at most
WARM_UP, REQUESTS, EACH = 2000, 2000, 50  # requests; of memory's, how many between two looks
A_VISIT = 20  # requests of one visitor, before another one comes


async def asked(kind: Kind, guest: Visitor, chance: Random) -> Asked:
    """What a visitor did, however it ended."""
    name, began, error = kind.__name__, time.perf_counter(), ""
    try:
        await kind(guest, chance)
    except (httpx.HTTPError, RuntimeError, KeyError, ValueError) as fault:
        error = f"{type(fault).__name__}: {str(fault)[:120]}"
    return Asked(name, time.perf_counter() - began, error)


# -- thirty at once --------------------------------------------------------------------------------


def load_part(quick: bool) -> Record:
    """Errors and times of 30 visitors in a minute. They run on the same cores as the app."""
    users, seconds = (4, 6.0) if quick else (30, 60.0)
    with app_open() as app:
        first_search = asyncio.run(_warmed(app.address))
        visits = asyncio.run(_crowd(app.address, users, seconds))
        memory = app.resident_mb()
    return {
        "users": users, "seconds": seconds, "think_s": THINK, "resident_mb": round(memory),
        "mixture": {kind.__name__: weight for kind, weight in AT_ONCE.items()},
        "requests_a_second": round(len(visits) / seconds, 2),
        "first_search_s": round(first_search, 2),
    } | told(visits)  # fmt: skip


async def _warmed(address: str) -> float:
    """Once of each kind and collection: what is made at the first use is there. Returns the seconds
    of the slowest first search, which encodes a collection."""
    async with visitor(address) as guest:
        seconds = []
        for place in PLACES:
            began = time.perf_counter()
            await guest.ask("search", {3: place})
            seconds.append(time.perf_counter() - began)
        for kind in AT_ONCE:
            await kind(guest, Random(0))
    return max(seconds)


async def _crowd(address: str, users: int, seconds: float) -> list[Asked]:
    until = time.perf_counter() + seconds
    crowd = [_person(address, Random(number), until) for number in range(users)]
    return [visit for visits in await asyncio.gather(*crowd) for visit in visits]


async def _person(address: str, chance: Random, until: float) -> list[Asked]:
    """Opens the page some time in the first seconds, then does and thinks by turns."""
    await asyncio.sleep(chance.uniform(0, THINK[1]))
    began = time.perf_counter()
    try:
        async with visitor(address) as guest:
            visits = [Asked("open_the_page", time.perf_counter() - began)]
            while time.perf_counter() < until:
                await asyncio.sleep(min(THINK[0] + chance.expovariate(1 / THINK[1]), THINK[2]))
                if time.perf_counter() < until:
                    visits.append(await asked(chosen(AT_ONCE, chance), guest, chance))
    except httpx.HTTPError as fault:
        return [Asked("open_the_page", time.perf_counter() - began, type(fault).__name__)]
    return visits


# -- memory ----------------------------------------------------------------------------------------


def memory_part(quick: bool) -> Record:
    """What the app's process holds, over 2,000 requests of all kinds.

    Before them come 2,000 to warm up: a hundred visitors. Gradio keeps something of the last 48."""
    warm_up, requests, each = (4, 12, 2) if quick else (WARM_UP, REQUESTS, EACH)
    with app_open() as app:
        curve, visits = asyncio.run(watched(app, warm_up, requests, each))
    half = [point for point in curve if point[0] >= requests / 2]
    return {
        "warm_up": warm_up,
        "requests": requests,
        "mb_per_1000_requests": round(1000 * slope(curve), 2),
        "mb_per_1000_in_the_second_half": round(1000 * slope(half), 2),
        "first_mb": round(curve[0][1], 1),
        "last_mb": round(curve[-1][1], 1),
        "curve": [[done, round(mb, 1)] for done, mb in curve],
        "answers": told(visits),
    }


async def watched(
    app: App, warm_up: int, requests: int, each: int
) -> tuple[list[tuple[int, float]], list[Asked]]:
    """(requests since the warm-up, MB) every so often; and how the requests ended."""
    chance, done = Random(0), -warm_up
    curve: list[tuple[int, float]] = []
    visits: list[Asked] = []
    while done < requests:
        async with visitor(app.address) as guest:
            for _ in range(A_VISIT):
                if done >= 0 and done % each == 0:
                    curve.append((done, app.resident_mb()))
                if done >= requests:
                    break
                visits.append(await asked(chosen(ALL, chance), guest, chance))
                done += 1
    if curve[-1][0] != requests:
        curve.append((done, app.resident_mb()))
    return curve, visits
