"""The single things that clients do, each drawn at random."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from random import Random
from typing import Any, TypeAlias

from tests.chaos.client import Client
from tests.chaos.history import Call, Outcome
from tests.chaos.mix import new_group, new_task, new_tasks
from tests.chaos.pool import Pool

# What is to be done, and how many tasks it makes.
Work: TypeAlias = tuple[Coroutine[Any, Any, None], int]

_REPEAT_SECONDS, _LONGEST_REPEAT_SECONDS = 0.1, 1.0
_WAIT_SECONDS = 2.0
_MOST_BATCHED, _MOST_MEMBERS = 30, 14


class Actions:
    """What there is to do, and what is known to do it to."""

    def __init__(self, random: Random) -> None:
        self.refused: Counter[str] = Counter()  # creates that were refused, though nothing is wrong with them
        self._random = random
        self._prefix = f"{random.getrandbits(32):08x}"
        self._intents = 0
        self._known: Pool[str] = Pool(5_000, random)
        self._latest: Pool[str] = Pool(30, random)  # of which many are still live
        self._failing: Pool[str] = Pool(500, random)
        self._groups: Pool[str] = Pool(100, random)
        self._latest_groups: Pool[str] = Pool(3, random)
        self._schedules: Pool[str] = Pool(10, random)
        # By how often each is chosen; all of these once make 250 tasks.
        actions: dict[Callable[[Client], Work], float] = {
            self._create: 100,
            self._batch: 6,
            self._group: 5,
            self._read: 40,
            self._wait: 2,
            self._cancel: 25,
            self._retry: 8,
            self._read_group: 2,
            self._cancel_group: 0.5,
            self._run_schedule: 0.7,
        }
        self._all, self._weights = list(actions), list(actions.values())

    def draw(self, client: Client) -> Work:
        """Something to do."""
        return self._random.choices(self._all, self._weights)[0](client)

    def marker(self) -> str:
        """Of a new intent."""
        self._intents += 1
        return f"{self._prefix}-{self._intents}"

    def schedule(self, name: str) -> None:
        """There is a schedule of this name."""
        self._schedules.add(name)

    def _create(self, client: Client) -> Work:
        marker = self.marker()
        task = new_task(self._random, marker)
        is_keyed = self._random.random() < 0.7  # the others are sent once, whatever comes of it
        key = marker if is_keyed else ""
        return self._kept(lambda: client.create(task, marker, key), [task], is_repeated=is_keyed), 1

    def _batch(self, client: Client) -> Work:
        marker = self.marker()
        tasks = new_tasks(self._random, marker, self._random.randint(5, _MOST_BATCHED))
        call = self._random.choice((client.batch, client.lines))
        return self._kept(lambda: call(tasks, marker, marker), tasks), len(tasks)

    def _group(self, client: Client) -> Work:
        marker = self.marker()
        group = new_group(self._random, marker, self._random.randint(1, _MOST_MEMBERS))
        return self._kept(lambda: client.group(group, marker, marker), group["tasks"]), len(group["tasks"]) + 1

    def _read(self, client: Client) -> Work:
        return _done_to(client.read, self._known.pick()), 0

    def _wait(self, client: Client) -> Work:
        return _done_to(lambda task_id: client.read(task_id, _WAIT_SECONDS), self._latest.pick()), 0

    def _cancel(self, client: Client) -> Work:
        return _done_to(client.cancel, self._latest.take()), 0

    def _retry(self, client: Client) -> Work:
        return _done_to(client.retry, self._failing.take()), 0

    def _read_group(self, client: Client) -> Work:
        return _done_to(client.read_group, self._groups.pick()), 0

    def _cancel_group(self, client: Client) -> Work:
        return _done_to(client.cancel_group, self._latest_groups.take()), 0

    def _run_schedule(self, client: Client) -> Work:
        return _done_to(client.run_schedule, self._schedules.pick()), 1

    async def _kept(
        self, create: Callable[[], Awaitable[Call]], tasks: Iterable[dict[str, Any]], *, is_repeated: bool = True
    ) -> None:
        """Create, by the same key until the outcome is known, and remember what has been made."""
        call = await (self.until_known(create) if is_repeated else create())
        if call.outcome is Outcome.FAIL:
            self.refused[f"{call.verb} {call.code}"] += 1
        for task_id, task in zip(call.ids, tasks, strict=False):  # a group's `then` has not been made yet
            self._known.add(task_id)
            self._latest.add(task_id)
            if task["kind"] == "chaos_failing":
                self._failing.add(task_id)
        if call.group:
            self._groups.add(call.group)
            self._latest_groups.add(call.group)

    async def until_known(self, call: Callable[[], Awaitable[Call]]) -> Call:
        """Call again until the outcome is known."""
        pause = _REPEAT_SECONDS
        while (done := await call()).outcome is Outcome.UNKNOWN:
            await asyncio.sleep(pause * (0.5 + self._random.random()))
            pause = min(pause * 2, _LONGEST_REPEAT_SECONDS)
        return done


async def _done_to(call: Callable[[str], Awaitable[Call]], subject: str | None) -> None:
    if subject is not None:
        await call(subject)
