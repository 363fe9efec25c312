"""API and consumer processes, which are started anew when they end, as Supervisor does."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.process import Exit, Process, Role, Starter, Why
from tests.support.api import listen, url_of
from tests.support.waiting import until

START_SECONDS = 30.0
_TOO_SOON_SECONDS = 1.0  # a process that ends so soon is not started again at once, lest it does nothing else


@dataclass(slots=True, eq=False)
class Place:
    """Where one process is kept running."""

    role: Role
    environment: Mapping[str, str]
    arguments: Sequence[str] = ()  # of launch.py
    is_plain: bool = False  # started by the interpreter, not by the zygote
    process: Process | None = None
    keeper: "asyncio.Task[None] | None" = None
    is_wanted: bool = True

    @property
    def is_linked(self) -> bool:
        """Whether it reaches PostgreSQL by way of a link."""
        return "DATABASE_URL" in self.environment

    @property
    def works(self) -> bool:
        """Whether its process lives and is ready."""
        return self.process is not None and self.process.works


@dataclass(frozen=True, slots=True, eq=False)
class _Allowed:
    """A reason for which consumers (or only those behind links) may end, while a fault is injected."""

    why: Why
    fault: str
    only_linked: bool


class Processes:
    """All of them.

    `environment`: for all; `consumers` and `apis`: one process each, with what its environment has besides. `first`: a
    module that each imports before anything else. The APIs share one listening socket, as under Supervisor.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *,
        consumers: Sequence[Mapping[str, str]],
        apis: Sequence[Mapping[str, str]],
        first: str = "",
    ) -> None:
        self._folder = folder
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
        self.environment = base | {"KEYS_FILE": os.devnull} | dict(environment)
        self._arguments = ("--first", first) if first else ()
        self._places = [Place("consumer", own) for own in consumers] + [Place("api", own) for own in apis]
        self._allowed: list[_Allowed] = []
        self._starts = 0
        self.exits: list[Exit] = []  # that nobody has asked for, allowed or not
        self._listener = listen()
        self.url = url_of(self._listener)

    @property
    def consumers(self) -> list[Process]:
        """Those that live and work, in the order of their places."""
        return self._working("consumer")

    @property
    def apis(self) -> list[Process]:
        """Those that live and work, in the order of their places."""
        return self._working("api")

    async def start_all(self) -> None:
        """Start the zygote and all processes, and wait until they work."""
        modules = list(filter(None, self.environment.get("HANDLER_MODULES", "").split(",")))
        self._starter = Starter(self.environment, self._folder / "zygote.log", modules)
        for place in self._places:
            self._keep(place)
        await self.all_work()

    async def all_work(self, seconds: float = START_SECONDS) -> None:
        """Wait until a process works at each place."""

        async def fact() -> bool:
            return all(place.works for place in self._places)

        await until(fact, seconds, 0.02, "a process works at each place")

    async def stop_all(self) -> None:
        """End them all at once."""
        for place in self._places:
            place.is_wanted = False
        for process in self._starter.living:
            self.signal(process.pid, signal.SIGKILL)
        await asyncio.gather(*(place.keeper for place in self._places if place.keeper is not None))
        self._starter.close()
        self._listener.close()

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process, if it still lives. That it ends is expected from then on."""
        for process in self._starter.living:
            if process.pid == pid:
                process.is_expected_to_end = True
                os.kill(pid, number)

    @property
    def unexplained(self) -> list[Exit]:
        """Those exits that no fault has allowed."""
        return [end for end in self.exits if not end.fault]

    @contextmanager
    def allowing(
        self, why: Why, fault: str, *, only_linked: bool = False, afterwards_seconds: float = 0.0
    ) -> Iterator[None]:
        """Within the block, and for so long after it, consumers (behind links) may end for this reason.

        It is counted all the same, for the fault.
        """
        allowed = _Allowed(why, fault, only_linked)
        self._allowed.append(allowed)
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(afterwards_seconds, self._allowed.remove, allowed)

    @asynccontextmanager
    async def besides(
        self, role: Role, environment: Mapping[str, str], *arguments: str, is_plain: bool = False
    ) -> AsyncIterator[Place]:
        """One more process, kept running for as long as the block lasts, and drained at its end.

        `arguments` are launch.py's. What is preloaded by `environment` must start plainly: a fork preloads nothing.
        """
        place = Place(role, environment, arguments, is_plain)
        self._places.append(place)
        self._keep(place)
        try:
            await self.all_work()
            yield place
        finally:
            await self._give_up(place)

    @asynccontextmanager
    async def fewer(self, role: Role, count: int) -> AsyncIterator[None]:
        """At most so many of this role for as long as the block lasts."""
        given_up = [place for place in self._places if place.role == role][count:]
        await asyncio.gather(*(self._give_up(place) for place in given_up))
        try:
            yield
        finally:
            for place in given_up:
                self._places.append(place)
                self._keep(place)
            await self.all_work()

    async def _give_up(self, place: Place) -> None:
        self._places.remove(place)
        place.is_wanted = False
        assert place.keeper is not None
        process = place.process if place.process is not None and place.process.exit is None else None
        if process is not None:
            self.signal(process.pid, signal.SIGTERM)
            if not await process.exited(START_SECONDS):
                self.signal(process.pid, signal.SIGKILL)
        await place.keeper
        # uvicorn, stopped in order, ends by the signal that stopped it
        if process is not None and process.exit not in {0, -signal.SIGTERM}:
            self._note(process, place)

    def _working(self, role: Role) -> list[Process]:
        return [
            place.process for place in self._places if place.role == role and place.process is not None and place.works
        ]

    def _keep(self, place: Place) -> None:
        place.is_wanted = True
        place.keeper = asyncio.create_task(self._keep_running(place))

    async def _keep_running(self, place: Place) -> None:
        while place.is_wanted:
            process = await self._start(place)
            if not place.is_wanted:  # nobody knew of this process when all were told to end
                self.signal(process.pid, signal.SIGKILL)
            await process.become_ready()
            await process.ended.wait()
            if process.is_expected_to_end:
                continue
            self._note(process, place)
            if process.ended_at - process.begun < _TOO_SOON_SECONDS:
                await asyncio.sleep(_TOO_SOON_SECONDS)

    def _note(self, process: Process, place: Place) -> None:
        end = process.end()
        faults = [
            each.fault
            for each in self._allowed
            if end.role == "consumer" and each.why is end.why and (place.is_linked or not each.only_linked)
        ]
        self.exits.append(end._replace(fault=faults[-1] if faults else ""))

    async def _start(self, place: Place) -> Process:
        self._starts += 1
        process = Process(place.role, self._folder / f"{place.role}-{self._starts}.log")
        environment = self.environment | dict(place.environment)
        start = self._starter.spawn if place.is_plain else self._starter.fork
        with Path(os.devnull).open("rb") as nothing:  # noqa: ASYNC230 - which blocks nobody
            given = self._listener.fileno() if place.role == "api" else nothing.fileno()
            await start(process, [*self._arguments, *place.arguments, place.role], environment, given)
        place.process = process
        return process
