"""Cancels that meet the completion of their task within some milliseconds: whoever comes second has to know."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from random import Random
from statistics import median
from typing import NamedTuple

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.history import Outcome
from tests.chaos.runs import Watch, watching
from tests.chaos.scene import Scene
from tests.support.types import Connection

_CLOSE_SECONDS = 0.005
_AIM_SECONDS = 0.002  # what the machine adds takes most of them further apart
_WAVE, _WAVE_SECONDS = 60, 0.2
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.05, 0.15
_START_SECONDS = 10.0
_STEER_SECONDS = 0.0001  # a race: as in a staircase, half of the cancels come first
_MOST_STEERED_SECONDS = 0.05
_ROUND = 3_000  # races between two looks at what has become of them
_MOST_TRIES = 6  # for each race that is close

_ENDS = "SELECT id::text, status, extract(epoch FROM finished_at)::float8 FROM tasks WHERE id = ANY($1::text[]::uuid[])"


class _Race(NamedTuple):
    """One task and its cancel. Times are of this host."""

    task_id: str
    completes_at: float  # its handler ends; its consumer has yet to say so
    sent_at: float
    outcome: Outcome


class _End(NamedTuple):
    """What a task has come to, by PostgreSQL's clock, which is this host's."""

    status: str
    at: float


class _Races:
    """Runs races, and steers them so that each side wins half of them."""

    def __init__(self, client: Client, watch: Watch, random: Random) -> None:
        self.begun = 0
        self.unseen = 0  # tasks that did not start in time
        self._client = client
        self._watch = watch
        self._random = random
        self._prefix = f"race-{random.getrandbits(32):08x}"
        self._bias = 0.0  # seconds after the end of the handler

    async def run(self, count: int) -> list[_Race]:
        """So many races, in waves that overlap."""
        waves = []
        for first in range(0, count, _WAVE):
            waves.append(asyncio.create_task(self._wave(min(_WAVE, count - first))))
            await asyncio.sleep(_WAVE_SECONDS)
        return [race for wave in await asyncio.gather(*waves) for race in wave if race is not None]

    async def _wave(self, count: int) -> list[_Race | None]:
        """Create tasks, and cancel each when it is about to complete."""
        marker = f"{self._prefix}-{self.begun}"
        self.begun += count
        seconds = [self._random.uniform(_SHORTEST_SECONDS, _LONGEST_SECONDS) for _ in range(count)]
        tasks = [
            {"kind": "chaos_sleep", "priority": "high", "content": {"marker": marker, "index": index, "seconds": lasts}}
            for index, lasts in enumerate(seconds)
        ]
        made = await self._client.batch(tasks, marker, marker)
        return await asyncio.gather(*map(self._race, made.ids, seconds))

    async def _race(self, task_id: str, seconds: float) -> _Race | None:
        start = await self._watch.seen(task_id, "start", _START_SECONDS)
        if start is None:
            self.unseen += 1
            return None
        completes_at = start.at + seconds
        due = completes_at + self._bias + self._random.uniform(-_AIM_SECONDS, _AIM_SECONDS)
        await asyncio.sleep(due - time.time())
        call = await self._client.cancel(task_id)
        step = {Outcome.OK: _STEER_SECONDS, Outcome.FAIL: -_STEER_SECONDS, Outcome.UNKNOWN: 0.0}[call.outcome]
        self._bias = max(-_MOST_STEERED_SECONDS, min(_MOST_STEERED_SECONDS, self._bias + step))
        return _Race(task_id, completes_at, call.invoked, call.outcome)


async def _inject(scene: Scene, dose: int, random: Random) -> Finding:
    finding = Finding()
    ways: Counter[str] = Counter()
    gaps: list[float] = []
    begun = time.monotonic()
    async with Client(scene.processes.url, scene.history.calls) as client, watching(scene.runs) as watch:
        races = _Races(client, watch, random)
        scene.load.pause()  # the races are as much load; others beside them would only blur the aim
        with scene.injecting("cancel-races", f"{dose} tasks"):
            while finding.injected < dose and races.begun < _MOST_TRIES * dose:
                run = await races.run(min(_ROUND, dose))
                sql = await scene.servers.connect()
                try:
                    ends = await _ends(sql, [race.task_id for race in run])
                finally:
                    await sql.close()
                ways.update(_judge(run, ends, finding))
                gaps += _gaps(run, ends)
                finding.injected = sum(abs(gap) <= _CLOSE_SECONDS for gap in gaps)
    scene.load.resume()
    if ways["completed"] + ways["canceled"] >= _ROUND and min(ways["completed"], ways["canceled"]) < 0.2 * ways.total():
        finding.violations.append(f"these were no races: {dict(ways)}")
    finding.facts = {
        "races": f"{races.begun:,}, {races.begun / (time.monotonic() - begun):.0f} a second",
        "canceled, completed, unknown": f"{ways['canceled']:,}, {ways['completed']:,}, {ways['unknown']:,}",
        "did not start in time": f"{races.unseen:,}",
        "cancel and completion apart (the loser's time is reckoned by the winners' median)": (
            f"{median(map(abs, gaps)) * 1e3:.1f} ms (median)" if gaps else "not known"
        ),
    }
    return finding


def _judge(races: list[_Race], ends: Mapping[str, _End], finding: Finding) -> Counter[str]:
    """Hold what was answered against what has become of each task; how many ended which way."""
    ways: Counter[str] = Counter()
    for race in races:
        status = ends[race.task_id].status if race.task_id in ends else "gone"
        expected = {Outcome.OK: "canceled", Outcome.FAIL: "completed", Outcome.UNKNOWN: status}[race.outcome]
        if status != expected:
            finding.violations.append(f"{race.task_id}: its cancel was answered {race.outcome}, and it is {status}")
        ways["unknown" if race.outcome is Outcome.UNKNOWN else status] += 1
    return ways


async def _ends(sql: Connection, ids: list[str]) -> dict[str, _End]:
    return {row[0]: _End(row[1], row[2]) for row in await sql.fetch(_ENDS, ids)}


def _gaps(races: list[_Race], ends: Mapping[str, _End]) -> list[float]:
    """Seconds by which each cancel came after its completion.

    Of each race PostgreSQL has the time of one; the other is reckoned by what the same way took in the others.
    """
    known = [(race, ends[race.task_id]) for race in races if race.task_id in ends]
    canceled = [(race, end.at) for race, end in known if end.status == "canceled"]
    completed = [(race, end.at) for race, end in known if end.status == "completed"]
    if not canceled or not completed:
        return []
    to_cancel = median(at - race.sent_at for race, at in canceled)
    to_complete = median(at - race.completes_at for race, at in completed)
    late = [race.sent_at + to_cancel - at for race, at in completed]
    return [at - race.completes_at - to_complete for race, at in canceled] + late


RACES = Fault("cancel-races", "cancel within ±5 ms of completion", 50_000, "0 overridden", _inject)
