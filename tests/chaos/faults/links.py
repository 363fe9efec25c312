"""The network between any two parts fails, on several links at once."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from random import Random

from tests.chaos.fault import Fault, Finding
from tests.chaos.links import Link
from tests.chaos.probe import BACK_SECONDS, START_SECONDS, Probe
from tests.chaos.process import Why
from tests.chaos.scene import BEAT_SECONDS, LEASE_SECONDS, Scene
from tests.chaos.spread import spread
from tests.chaos.users import at_work_again, users_of

SLOW_SECONDS = 1.0  # each way
_DOSE = 200
_LONG_ONE_IN = 10
_LONG_SECONDS = 4.0  # longer than a lease
_DEADLY_CUT_SECONDS = LEASE_SECONDS - 2 * BEAT_SECONDS  # the last beat was one before, and the next is one after it
_LOOK_SECONDS = 0.05
_BEATS_GO_BY = "consumer-postgres"
_BEAT_ANSWER_SECONDS = 1.0
_HARM_SECONDS = 3.0  # more, until the first answer to be cut comes by
_ALL_LINKS = 50  # a dose at which each of them must have been hit
_MOST_TRIES = 3  # for each that harms somebody

Break = Callable[[Link, Random], None]


def _cut(link: Link, random: Random) -> None:
    """One answer, or each one until the link is healed."""
    if random.random() < 0.5:
        link.cut_replies(1)
    else:
        link.cut_replies()


def _hole(link: Link, _: Random) -> None:
    link.black_hole()


def _slow(link: Link, _: Random) -> None:
    link.slow(SLOW_SECONDS)


async def _inject(
    name: str, do: Break, shortest: float, longest: float, scene: Scene, dose: int, random: Random
) -> Finding:
    """Break some links at once, heal them, and wait for everybody behind them to be at work again."""
    finding, links = Finding(), scene.servers.links
    backs: dict[str, list[float]] = {link: [] for link in links}
    harmed: Counter[str] = Counter()
    tries = 0
    through = Probe(f"http://127.0.0.1:{links['client-api'].port}", scene.history.calls)
    past = Probe(scene.processes.url, scene.history.calls)
    async with through, past:
        await _answered(through)
        while finding.injected < dose and tries < _MOST_TRIES * dose:
            count = min(random.randint(2, len(links)), dose - finding.injected)
            tries += count
            chosen = [links[link] for link in random.sample(sorted(links), count)]
            users = {link.name: await _users(scene, link) for link in chosen}
            before = {link.name: link.harmed for link in chosen}
            is_long = random.randrange(_LONG_ONE_IN) == 0
            seconds = _LONG_SECONDS if is_long else random.uniform(shortest, longest)
            with _may_die(scene, name, users, seconds), scene.injecting(name, ", ".join(users)):
                for link in chosen:
                    do(link, random)
                await asyncio.sleep(seconds)
                await _heal(chosen, before)
            harmed.update(link.name for link in chosen if users[link.name] and link.harmed > before[link.name])
            finding.injected = harmed.total()
            await _note_return(finding, scene, chosen, users, backs)
    for probe in (through, past):
        finding.violations += await probe.lost(scene.servers.connect, START_SECONDS)
    finding.violations += [*through.unclear, *past.violations()]
    if silent := links.keys() - harmed.keys():
        finding.facts["no harm done over"] = ", ".join(sorted(silent))
        if dose >= _ALL_LINKS:
            finding.violations.append(f"no harm was done over {', '.join(sorted(silent))}, so nothing is shown there")
    finding.facts |= {f"{link}, {harmed[link]} times: at work again": spread(backs[link]) for link in sorted(harmed)}
    finding.facts |= {
        "broken while nobody used it, which does not count": str(tries - finding.injected),
        "creates accepted by the probes": str(len(through.accepted) + len(past.accepted)),
        "clear errors": str(sum((through.refused + past.refused).values())),
        "without an answer, by way of the clients' link": str(through.unanswered),
        "without an answer, past it": str(past.unanswered),
        "longest answer past it": f"{past.longest:.2f} s",
    }
    return finding


def _may_die(scene: Scene, fault: str, links: Collection[str], seconds: float) -> AbstractContextManager[None]:
    """Who has no way to PostgreSQL may be declared dead: he hears of it when there is one again, by his next beat.

    Not for answers that were cut for less than a lease: he knows at once that he has none, and beats again.
    """
    if _BEATS_GO_BY not in links or (fault == "link-cut" and seconds < _DEADLY_CUT_SECONDS):
        return nullcontext()
    return scene.processes.allowing(
        Why.DECLARED_DEAD, fault, only_linked=True, afterwards_seconds=BACK_SECONDS + _BEAT_ANSWER_SECONDS
    )


async def _heal(links: Sequence[Link], before: Mapping[str, int]) -> None:
    """Heal them; one that is to cut an answer as soon as it has had one to cut."""
    give_up = time.monotonic() + _HARM_SECONDS
    broken = list(links)
    while broken:
        for link in list(broken):
            if not link.cuts_left or link.harmed > before[link.name] or time.monotonic() > give_up:
                link.heal()
                broken.remove(link)
        await asyncio.sleep(_LOOK_SECONDS)


async def _note_return(
    finding: Finding,
    scene: Scene,
    links: Sequence[Link],
    users: Mapping[str, set[int]],
    backs: Mapping[str, list[float]],
) -> None:
    """Wait for each process that had used these links to be at work again over them, or to have been replaced."""
    healed = time.monotonic()
    again = await asyncio.gather(*(at_work_again(link, users[link.name], healed, BACK_SECONDS) for link in links))
    await scene.processes.all_work()
    for link, (seconds, silent) in zip(links, again, strict=True):
        missing = silent & _kept(scene)  # the others have lost their lease and ended
        if users[link.name] and not silent:
            backs[link.name].append(seconds)
        if missing:
            finding.violations.append(
                f"{len(missing)} of {len(users[link.name])} processes behind {link.name} were not at work "
                f"{BACK_SECONDS:g} s after it was whole again: {sorted(missing)}"
            )


async def _users(scene: Scene, link: Link) -> set[int]:
    """Those that use a link, as soon as there are any: some may just have been started anew."""
    give_up = time.monotonic() + BACK_SECONDS
    while True:
        users = await users_of(link) & _kept(scene)
        if users or time.monotonic() > give_up:
            return users
        await asyncio.sleep(_LOOK_SECONDS)


def _kept(scene: Scene) -> set[int]:
    """Processes that always have something to ask, and this one: a quarantine may be silent for longer."""
    return {process.pid for process in (*scene.processes.consumers, *scene.processes.apis)} | {os.getpid()}


async def _answered(probe: Probe) -> None:
    if await probe.accepts(time.time(), BACK_SECONDS) is None:
        raise RuntimeError("the clients' link does not lead to the API")


def _fault(name: str, title: str, do: Break, shortest: float, longest: float) -> Fault:
    inject = partial(_inject, name, do, shortest, longest)
    return Fault(name, title, _DOSE, f"0 stuck; reconnected <= {BACK_SECONDS:g} s", inject)


FAULTS = (
    _fault("link-cut", "proxy between any two: reply cut", _cut, 0.2, 1.0),
    _fault("link-hole", "proxy between any two: black hole", _hole, 0.5, 3.0),
    _fault("link-slow", "proxy between any two: 1 s of latency each way", _slow, 1.5, 3.0),
)
