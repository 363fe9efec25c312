"""Keeps whoever watches up to date: by one subscription of this process, and, where that fails, by one statement."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from app.api.watch import State, Subject, Topic, Watcher, Watchers
from app.core.errors import DatabaseUnavailableError, WakeupUnavailableError
from app.core.events import Emit
from app.core.outage import Outage
from app.queue.changes import ids_in
from app.queue.wakeup import Wakeup
from app.utils.end_tasks import end_tasks

LOOK_SECONDS = 1.0  # between looks at PostgreSQL while messages may be lost
SAFETY_LOOK_SECONDS = 5.0  # and while all seems well: a process that can't reach Redis tells nobody
_DOUBT_SECONDS = 3.0  # after the subscription began: others may not have found Redis again
_RETRY_SECONDS = 0.5
_LINGER_SECONDS = 1.0  # without anybody, before the subscription ends: long polls come one after the other
_HEAVIEST_LOOK = 100_000  # rows that one look reads, most of them members of groups; the next goes on

Versions = Callable[[Sequence[UUID], Sequence[UUID]], Awaitable[dict[UUID, int]]]


class Hub:
    """`versions`: those of tasks and groups, in one statement. `most`: watchers for each caller."""

    def __init__(self, wakeup: Wakeup, versions: Versions, most: int, emit: Emit) -> None:
        self._wakeup = wakeup
        self._versions = versions
        self._watchers = Watchers(most)
        self._redis = Outage(emit, "redis", "listening for changes")
        self._postgresql = Outage(emit, "postgresql", "looking for changes")
        self._helpers: list[asyncio.Task[None]] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._is_listening = False
        self._doubtful_until = 0.0
        self._look_now = asyncio.Event()
        self._groups_seen = 0
        self.is_stopping = False

    @contextmanager
    def watch(self, name: str, subject: Subject[Any], topic_id: UUID, state: State) -> Iterator[Watcher]:
        """Watch what has just been read; whatever it became since is told as well. Raises as Watchers.watch."""
        with self._watchers.watch(name, subject, topic_id, self._on_trouble) as (topic, watcher):
            topic.tell(state)
            if self.is_stopping:
                watcher.end()
            elif not self._helpers:
                self._start()
            elif self._is_listening:
                topic.refresh()  # else the next look does it
            try:
                yield watcher
            finally:
                asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._end_if_idle)

    def stop(self) -> None:
        """Let everybody go: the process is about to end."""
        self.is_stopping = True
        for topic in self._watchers.topics.values():
            for watcher in topic.watchers:
                watcher.end()

    async def close(self) -> None:
        """End the subscription."""
        self._end()
        if self._ending:
            await asyncio.wait(self._ending)

    def _start(self) -> None:
        self._helpers = [asyncio.create_task(self._listen()), asyncio.create_task(self._look())]
        for helper in self._helpers:
            helper.add_done_callback(_complain)

    def _end_if_idle(self) -> None:
        if not self._watchers.topics and self._helpers:
            self._end()

    def _end(self) -> None:
        ending = asyncio.create_task(end_tasks(self._helpers))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        self._helpers = []
        self._is_listening = False

    async def _listen(self) -> None:
        topics = self._watchers.topics
        while True:
            try:
                async for message in self._wakeup.changed(self._on_listening):
                    for raw in ids_in(message):
                        if (topic := topics.get(raw)) is not None:
                            topic.refresh()
            except WakeupUnavailableError as error:
                self._redis.begin(error)
                if self._is_listening:
                    self._is_listening = False
                    self._look_now.set()
            await asyncio.sleep(_RETRY_SECONDS)

    def _on_listening(self) -> None:
        self._redis.end()
        self._is_listening = True
        self._doubtful_until = _now() + _DOUBT_SECONDS
        self._look_now.set()  # what has changed before was told to nobody

    def _on_trouble(self, error: BaseException) -> None:
        """Something that has changed could not be read: the next look finds it."""
        self._postgresql.begin(error)
        self._doubtful_until = _now() + _DOUBT_SECONDS

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._look_now.wait()
            self._look_now.clear()
            try:
                await self._look_once()
                self._postgresql.end()
            except DatabaseUnavailableError as error:
                self._on_trouble(error)

    def _pause(self) -> float:
        is_sure = self._is_listening and _now() > self._doubtful_until
        return SAFETY_LOOK_SECONDS if is_sure else LOOK_SECONDS

    async def _look_once(self) -> None:
        tasks, groups = self._due()
        if not tasks and not groups:
            return
        versions = await self._versions([topic.id for topic in tasks], [topic.id for topic in groups])
        for topic in (*tasks, *groups):
            version = versions.get(topic.id)
            if version is None or version > topic.version:
                topic.refresh()

    def _due(self) -> tuple[list[Topic[Any]], list[Topic[Any]]]:
        """All tasks, and of the groups as many as one statement can count in time, in turns."""
        topics = self._watchers.topics.values()
        groups = [topic for topic in topics if topic.subject.is_group]
        first = self._groups_seen % len(groups) if groups else 0
        due: list[Topic[Any]] = []
        weight = 0
        for topic in groups[first:] + groups[:first]:
            weight += topic.weight
            if due and weight > _HEAVIEST_LOOK:
                break
            due.append(topic)
        self._groups_seen = first + len(due)
        return [topic for topic in topics if not topic.subject.is_group], due


def _complain(helper: "asyncio.Task[None]") -> None:
    """A helper never ends by itself: if it does, the loop logs why."""
    if not helper.cancelled():
        helper.result()


def _now() -> float:
    return asyncio.get_running_loop().time()
