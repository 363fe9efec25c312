"""APIs that are killed, and that are told to stop, while they create tasks."""

import asyncio
import signal
import time
from collections import Counter
from functools import partial
from itertools import islice
from random import Random
from typing import NamedTuple

from tests.chaos.client import Client
from tests.chaos.fault import Fault, Finding
from tests.chaos.faults.consumers import one_of
from tests.chaos.faults.insisting import insist
from tests.chaos.history import Outcome
from tests.chaos.scene import Scene
from tests.chaos.spread import spread

_CREATES, _BATCHES, _BATCH_TASKS = 45, 5, 40  # under way at each kill
_PERIOD_SECONDS = 0.8
_REPEATED = 0.2  # of those that were answered at once: sent again all the same
_STOP_SECONDS = 15.0  # config/supervisord.conf
_MOST_TRIES = 3  # for each that hits

_MADE = """
SELECT content ->> 'marker', array_agg(id::text) FROM tasks WHERE content ->> 'marker' LIKE $1 GROUP BY 1
"""


class _Intent(NamedTuple):
    marker: str
    tasks: int
    is_repeated: bool  # also when it was answered at once


class _Creates:
    """Creates, each repeated under its key until its outcome is known, and then once more; as are some others."""

    def __init__(self, client: Client, prefix: str, random: Random) -> None:
        self.prefix = prefix
        self.outcomes: Counter[Outcome] = Counter()  # of first tries
        self.batches = 0  # of these unanswered
        self.repeated = 0  # once more, though the answer was known
        self.wrong: list[str] = []
        self._client = client
        self._random = random
        self._answered: dict[_Intent, frozenset[str]] = {}

    def begin(self) -> "list[asyncio.Task[None]]":
        """Send one burst."""
        first = len(self._answered)
        intents = [
            _Intent(
                f"{self.prefix}-{first + n}", _BATCH_TASKS if n < _BATCHES else 1, self._random.random() < _REPEATED
            )
            for n in range(_BATCHES + _CREATES)
        ]
        return [asyncio.create_task(self._create(intent)) for intent in intents]

    async def _create(self, intent: _Intent) -> None:
        tasks = [{"kind": "chaos_noop", "content": {"marker": intent.marker, "index": n}} for n in range(intent.tasks)]
        send = (
            partial(self._client.create, tasks[0], intent.marker, intent.marker)
            if intent.tasks == 1
            else partial(self._client.batch, tasks, intent.marker, intent.marker)
        )
        call = await send()
        self.outcomes[call.outcome] += 1
        is_known = call.outcome is not Outcome.UNKNOWN
        if not is_known:
            self.batches += intent.tasks > 1
            call = await insist(send)
        if intent.is_repeated or not is_known:
            again = await insist(send)
            self.repeated += 1
            if call.outcome is Outcome.OK and (again.outcome is not Outcome.OK or set(again.ids) != set(call.ids)):
                self.wrong.append(f"{intent.marker}: one key made {call.ids} and {again.ids} ({again.code})")
        if call.outcome is not Outcome.OK:
            self.wrong.append(f"{intent.marker}: answered by {call.code}")
        self._answered[intent] = frozenset(call.ids)

    async def check(self, scene: Scene) -> list[str]:
        """What is not as it was answered."""
        sql = await scene.servers.connect()
        made = {row[0]: row[1] for row in await sql.fetch(_MADE, f"{self.prefix}-%")}
        await sql.close()
        for intent, ids in self._answered.items():
            there = made.get(intent.marker, [])
            if len(there) != intent.tasks:
                self.wrong.append(f"{intent.marker}: {intent.tasks} tasks were asked for, and there are {len(there)}")
            if not ids <= set(there):
                self.wrong.append(f"{intent.marker}: was answered with {ids - set(there)}, which are not there")
        return self.wrong


async def _answered(calls: "list[asyncio.Task[None]]", count: int) -> None:
    """Wait until so many of them are: others of the same moment are then under way, whatever the machine's speed."""
    for call in islice(asyncio.as_completed(calls), count):
        await call


async def _end(scene: Scene, dose: int, random: Random, name: str, number: signal.Signals) -> Finding:
    finding, took = Finding(), list[float]()
    async with Client(scene.processes.url, scene.history.calls, _CREATES + _BATCHES) as client:
        creates = _Creates(client, f"{name}-{random.getrandbits(32):08x}", random)
        for _ in range(_MOST_TRIES * dose):
            begun = time.time()
            unanswered = creates.outcomes[Outcome.UNKNOWN]
            victim = await one_of(lambda: scene.processes.apis, random)
            calls = creates.begin()
            await _answered(calls, random.randint(1, _CREATES // 4))
            with scene.injecting(name, str(victim.pid)):
                at = time.time()
                scene.processes.signal(victim.pid, number)
                if not await victim.exited(_STOP_SECONDS):
                    finding.violations.append(
                        f"API {victim.pid} is still there {_STOP_SECONDS:g} s after {number.name}"
                    )
                    scene.processes.signal(victim.pid, signal.SIGKILL)
                took.append(time.time() - at)
            # uvicorn, stopped in order, ends by the signal that stopped it
            if number is signal.SIGTERM and victim.exit not in {0, -signal.SIGTERM}:
                finding.violations.append(f"API {victim.pid} ended by {victim.exit}: {victim.output()[-1_000:]}")
            await asyncio.gather(*calls)
            # One that was told to stop answers what it has; one that was killed must have left somebody unanswered.
            finding.injected += number is signal.SIGTERM or creates.outcomes[Outcome.UNKNOWN] > unanswered
            if finding.injected == dose:
                break
            await asyncio.sleep(max(0, begun + _PERIOD_SECONDS - time.time()))
        await scene.processes.all_work()
        finding.violations += await creates.check(scene)
    finding.facts = {
        "creates and batches under way": str(creates.outcomes.total()),
        "of these unanswered, and repeated": f"{creates.outcomes[Outcome.UNKNOWN]}, of which batches {creates.batches}",
        "ends beside that, with none unanswered": str(len(took) - finding.injected),
        "sent once more by the same key when the answer was known": str(creates.repeated),
        "exited": spread(took),
    }
    return finding


async def _kill(scene: Scene, dose: int, random: Random) -> Finding:
    return await _end(scene, dose, random, "kill-api", signal.SIGKILL)


async def _terminate(scene: Scene, dose: int, random: Random) -> Finding:
    return await _end(scene, dose, random, "terminate-api", signal.SIGTERM)


KILL = Fault(
    "kill-api",
    "API SIGKILL mid-batch",
    200,
    "every 201 is there; the same key again gives one task",
    _kill,
)
TERMINATE = Fault(
    "terminate-api",
    "API SIGTERM under load",
    20,
    "every 201 is there; exits within its wait",
    _terminate,
)

FAULTS = (KILL, TERMINATE)
