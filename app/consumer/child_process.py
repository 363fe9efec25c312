"""One child process, as the consumer sees it. The child's own side is app/consumer/child.py."""

import asyncio
import signal
import socket
from contextlib import suppress
from typing import Any, Self

from app.consumer.channel import Answer, Job, job_message, pack, read_answer, receive
from app.consumer.forks import Forked, Forks

_START_SECONDS = 30.0
_LAST_WORDS_SECONDS = 1.0  # from the end of a process to that of its channel
_EXIT_SECONDS = 5.0  # from the end of its channel to that of the process, which says how: the host may be busy


class ChildDiedError(Exception):
    """A child process ended by itself; the message says how: `SIGSEGV`, `exit code 3`."""


class ChildProcess:
    """A process that runs one job at a time.

    It leads a process group of its own: a terminal's Ctrl-C does not reach it, and what a handler has started ends
    with it, unless this process is killed.
    """

    def __init__(self, process: Forked, streams: tuple[Any, asyncio.StreamWriter]) -> None:
        self._process = process
        self._reader: asyncio.StreamReader = streams[0]
        self._writer = streams[1]
        self._asking: asyncio.Task[Answer | None] | None = None
        self.jobs = 0
        self.gone = asyncio.create_task(self._reap())

    @classmethod
    async def spawn(cls, forks: Forks) -> Self:
        """Start one. Raises OSError where the system has no memory, processes or descriptors left."""
        ours, its = socket.socketpair()
        try:
            with its:
                process = await forks.fork("app.consumer.child", given=[its.fileno()], is_bound=True)
            ours.setblocking(False)
            return cls(process, await asyncio.open_unix_connection(sock=ours))
        except BaseException:
            ours.close()  # which ends it, if there is one
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can take a job, as far as is known."""
        return self._process.returncode is None

    async def start(self) -> None:
        """Wait until it is ready for its first job. Raises ChildDiedError where it does not get so far."""
        ready = None
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                ready = await receive(self._reader)
        if ready is None:
            raise ChildDiedError(await self._death())

    async def run(self, job: Job) -> Answer:
        """Have it do a job. Raises ChildDiedError."""
        self.jobs += 1
        self._asking = asking = asyncio.create_task(self._ask(job))
        await asyncio.wait([asking, self.gone], return_when=asyncio.FIRST_COMPLETED)
        answer = asking.result() if asking.done() and not asking.cancelled() else None
        if answer is None:
            raise ChildDiedError(await self._death())
        return answer

    async def end(self, grace_seconds: float) -> bool:
        """SIGTERM, then SIGKILL; returns when it is gone: whether it had to be killed."""
        self._process.terminate()
        await asyncio.wait([self.gone], timeout=grace_seconds)
        self.kill()
        return await self.gone == -signal.SIGKILL

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started."""
        self._process.kill()

    async def _ask(self, job: Job) -> Answer | None:
        try:
            self._writer.write(pack(job_message(job)))
            await self._writer.drain()
            message = await receive(self._reader)
            return None if message is None else read_answer(message)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    async def _reap(self) -> int:
        code = await self._process.wait()
        if self._asking is not None:  # it may have answered, and ended then
            await asyncio.wait([self._asking], timeout=_LAST_WORDS_SECONDS)
            self._asking.cancel()
        self._writer.close()
        return code

    async def _death(self) -> str:
        """See to it that it is dead, and say what it died of."""
        await asyncio.wait([self.gone], timeout=_EXIT_SECONDS)
        self.kill()
        code = await self.gone
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"
