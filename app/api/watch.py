"""Who waits for changes of which tasks and groups, in this process."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Generic, TypeVar
from uuid import UUID

from starlette.types import Scope

from app.api.errors import ProblemError
from app.core.errors import DatabaseUnavailableError

_RETRY_AFTER_SECONDS = 5

Found = TypeVar("Found")


@dataclass(slots=True)
class State:
    """What there is to tell of a task or a group. `weight`: rows that its version is made of."""

    version: int
    has_ended: bool
    body: bytes
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Subject(Generic[Found]):
    """Tasks, or groups. `find` raises ProblemError: 404. `pause`: seconds between two reads of the same one."""

    name: str
    find: Callable[[Scope], Awaitable[Found]]
    read: "Callable[[UUID], asyncio.Future[Found | None]]"
    state: Callable[[Found], State]
    is_group: bool = False
    pause: float = 0.0


class Watcher:
    """One who waits. It is over when the client has left, the process stops, or there is nothing left to watch."""

    __slots__ = ("_news", "_state", "has_left", "is_over")

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._state: State | None = None
        self.is_over = False
        self.has_left = False

    def tell(self, state: State) -> None:
        """There is a newer state; one that nobody has taken is passed over."""
        self._state = state
        self._news.set()

    def end(self) -> None:
        """No more is told."""
        self.is_over = True
        self._news.set()

    def leave(self) -> None:
        """The client has gone."""
        self.has_left = True
        self.end()

    async def next(self, seconds: float) -> State | None:
        """The newest state that was not taken yet, as soon as there is one; None at the end, and after `seconds`."""
        if self._state is None and not self.is_over:
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return None
        self._news.clear()
        state, self._state = self._state, None
        return state


class Topic(Generic[Found]):
    """A task or a group that somebody watches."""

    def __init__(self, subject: Subject[Found], topic_id: UUID, on_trouble: Callable[[BaseException], None]) -> None:
        self.id = topic_id
        self.subject = subject
        self.version = 0
        self.weight = 1
        self.watchers: set[Watcher] = set()
        self._on_trouble = on_trouble
        self._is_busy = False
        self._is_stale = False

    def tell(self, state: State) -> None:
        """This is how it stands, for those who have not heard it."""
        if state.version > self.version:
            self.version, self.weight = state.version, state.weight
            for watcher in self.watchers:
                watcher.tell(state)

    def refresh(self) -> None:
        """It may have changed: read it, together with others, but not again before `pause` is over."""
        if self._is_busy:
            self._is_stale = True
            return
        self._is_busy = True
        self.subject.read(self.id).add_done_callback(self._on_read)

    def _on_read(self, read: "asyncio.Future[Found | None]") -> None:
        asyncio.get_running_loop().call_later(self.subject.pause, self._on_pause_over)
        try:
            found = read.result()
        except (DatabaseUnavailableError, asyncio.CancelledError) as error:
            self._on_trouble(error)
            return
        if found is not None:
            self.tell(self.subject.state(found))
        else:
            for watcher in self.watchers:  # it was deleted
                watcher.end()

    def _on_pause_over(self) -> None:
        self._is_busy = False
        if self._is_stale and self.watchers:
            self._is_stale = False
            self.refresh()


class Watchers:
    """All topics of this process, by the bytes of their ids."""

    def __init__(self, most: int) -> None:
        self.topics: dict[bytes, Topic[Any]] = {}
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def watch(
        self,
        name: str,
        subject: Subject[Any],
        topic_id: UUID,
        on_trouble: Callable[[BaseException], None],
    ) -> Iterator[tuple[Topic[Any], Watcher]]:
        """Watch it, in the name of a caller. Raises ProblemError where the caller watches too much already."""
        if self._open[name] >= self._most:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"There are {self._most} open streams and long polls already, which is the most for a key.",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        self._open[name] += 1
        topic = self.topics.get(topic_id.bytes)
        if topic is None:
            topic = self.topics[topic_id.bytes] = Topic(subject, topic_id, on_trouble)
        watcher = Watcher()
        topic.watchers.add(watcher)
        try:
            yield topic, watcher
        finally:
            topic.watchers.discard(watcher)
            if not topic.watchers:
                del self.topics[topic_id.bytes]
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]
