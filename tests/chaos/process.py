"""One process of the service, and what starts it: the zygote, or the interpreter where something is preloaded."""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from app.utils.fork_server import MESSAGE_BYTES
from tests.support.become import request_process
from tests.support.zygote import ROOT, start_zygote

_READY = {"api": "Application startup complete", "consumer": "consumer started"}
_CONSUMER_ID = re.compile(r'"consumer_id": "([0-9a-f-]{36})"')

_LAUNCH = "tests.chaos.launch"
_NICE = 5  # so that the driver, which measures, waits for nobody's start
_TAIL_CHARACTERS = 300  # the error is at the end

Role: TypeAlias = Literal["api", "consumer"]


class Why(StrEnum):
    """Why a process has ended that nobody told to. A fault may allow some of these; nothing allows `BROKEN`."""

    DECLARED_DEAD = "declared dead, since no beat had got through for a lease"
    WATCHDOG = "ended by its watchdog"
    SIGKILL = "killed by SIGKILL"
    BROKEN = "ended by an error"


class Exit(NamedTuple):
    """An end that nobody has asked for."""

    role: Role
    pid: int
    code: int
    why: Why
    at: float
    tail: str  # of its log
    fault: str = ""  # that allows it; "": none does

    def __str__(self) -> str:
        """In words."""
        return f"{self.role} {self.pid} ended by {self.code} ({self.why}): {self.tail}"


def why(code: int, output: str) -> Why:
    """By its exit code and all that it has written."""
    if code == -signal.SIGKILL:
        return Why.SIGKILL
    if code == 1 and "consumer ends by an error" not in output:
        if "this consumer was declared dead, and ends" in output:
            return Why.DECLARED_DEAD
        if "event loop blocked: this process ends" in output:
            return Why.WATCHDOG
    return Why.BROKEN


@dataclass(slots=True, eq=False)
class Process:
    """From its start to after its end."""

    role: Role
    log: Path
    begun: float = field(default_factory=time.time)
    pid: int = 0
    consumer_id: str = ""  # of its row in the table `consumers`, once it is ready
    exit: int | None = None  # as in subprocess: below 0 is a signal
    ended_at: float = 0.0
    is_expected_to_end: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # its log says that it works
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def works(self) -> bool:
        """Whether it lives and is ready."""
        return self.ready.is_set() and self.exit is None

    def output(self) -> str:
        """All it has written so far."""
        return self.log.read_text(errors="replace")

    def end(self) -> Exit:
        """How it has ended."""
        output, code = self.output(), self.exit or 0
        return Exit(self.role, self.pid, code, why(code, output), self.ended_at, output[-_TAIL_CHARACTERS:])

    async def exited(self, seconds: float) -> bool:
        """Wait for its end; whether it came in time."""
        try:
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        except TimeoutError:
            return False
        return True

    async def become_ready(self) -> None:
        """Wait until its log says that it works, or it has ended."""
        while not self.ended.is_set():
            for line in self.output().splitlines():
                if _READY[self.role] in line:
                    found = _CONSUMER_ID.search(line)
                    self.consumer_id = found[1] if found else ""
                    self.ready.set()
                    return
            await asyncio.sleep(0.02)


class Starter:
    """Starts processes and hears of their ends. One that it starts dies with it."""

    def __init__(self, environment: Mapping[str, str], log: Path, modules: Sequence[str]) -> None:
        """Start the zygote, which imports these modules as well, and wait until it has."""
        self._living: dict[int, Process] = {}
        self._being_forked: list[Process] = []  # in the order in which the zygote was asked
        self._waiting: set[asyncio.Task[None]] = set()
        self._zygote, self._socket = start_zygote(environment, log, (_LAUNCH, *modules))
        os.setpriority(os.PRIO_PROCESS, self._zygote.pid, _NICE)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._on_message)

    @property
    def living(self) -> Sequence[Process]:
        """All that run."""
        return list(self._living.values())

    async def fork(
        self, process: Process, arguments: Sequence[str], environment: Mapping[str, str], given: int
    ) -> None:
        """Have the zygote fork it; `given` is its standard input."""
        self._being_forked.append(process)
        with process.log.open("wb") as output:
            descriptors = [given, output.fileno(), output.fileno()]
            request_process(self._socket, [_LAUNCH, *arguments], environment, descriptors)
        await process.started.wait()

    async def spawn(
        self, process: Process, arguments: Sequence[str], environment: Mapping[str, str], given: int
    ) -> None:
        """Start an interpreter for it."""
        with process.log.open("wb") as output:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _LAUNCH, *arguments),
                cwd=ROOT,
                env=environment,
                stdin=given,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._on_start(process, child.pid)

        async def wait() -> None:
            self._on_end(child.pid, await child.wait())

        waiting = asyncio.create_task(wait())
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)

    def close(self) -> None:
        """End the zygote, and with it what it has forked."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._zygote.wait()

    def _on_message(self) -> None:
        message = json.loads(self._socket.recv(MESSAGE_BYTES) or b"null")
        if message is None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            raise RuntimeError("the zygote has died")
        if "error" in message:
            raise OSError(message["error"])
        if "exit" in message:
            self._on_end(message["pid"], message["exit"])
        else:
            self._on_start(self._being_forked.pop(0), message["pid"])

    def _on_start(self, process: Process, pid: int) -> None:
        process.pid = pid
        self._living[pid] = process
        process.started.set()

    def _on_end(self, pid: int, code: int) -> None:
        process = self._living.pop(pid)
        process.exit = code
        process.ended_at = time.time()
        process.ended.set()
