"""Real processes: the API and consumers, as in production."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.support.api import APP, OPTIONS, listen, url_of
from tests.support.forking import Forked, forks
from tests.support.waiting import PATIENCE_SECONDS, until
from tests.support.zygote import ROOT

__all__ = ["ROOT", "Process", "Service", "service"]


class Process:
    """`python ARGUMENTS`, whose output can be read while it runs."""

    def __init__(
        self, arguments: Sequence[str], env: dict[str, str], given: int | None = None, *, is_forked: bool = False
    ) -> None:
        """`given`: its standard input. `is_forked`: from what has imported the service, which is much faster."""
        self._log = tempfile.NamedTemporaryFile(prefix="taskmill-test-", suffix=".log")  # noqa: SIM115 - lives as long
        self._child: Forked | subprocess.Popen[bytes]
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            given, output = nothing.fileno() if given is None else given, self._log.fileno()
            if is_forked:
                assert arguments[0] == "-m"
                self._child = forks().fork(arguments[1:], env, given, output)
            else:
                command = [sys.executable, *arguments]
                self._child = subprocess.Popen(
                    command, cwd=ROOT, env=env, stdin=given, stdout=output, stderr=output, start_new_session=True
                )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    @property
    def exit(self) -> int | None:
        """As in subprocess: below 0 is a signal, and None is none yet."""
        return self._child.poll()

    def output(self) -> str:
        """All it has written so far."""
        return Path(self._log.name).read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._child.send_signal(number)

    async def exit_code(self, seconds: float = 30) -> int:
        """Wait for its end."""
        await until(self._has_ended, seconds)
        assert self.exit is not None
        return self.exit

    async def wrote(self, text: str, seconds: float = 15) -> None:
        """Wait until its output has this text."""

        async def fact() -> bool:
            return text in self.output()

        try:
            await until(fact, seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in its output: {self.output()[-3000:]}") from None

    async def kill(self) -> None:
        """End it and what it started."""
        if self.exit is None:
            os.killpg(self.pid, signal.SIGKILL)
            await self.exit_code()
        self._log.close()

    async def _has_ended(self) -> bool:
        return self.exit is not None


class Service:
    """An API process and any number of consumers on one database, and a client of it."""

    app: tuple[str, ...] = APP
    is_forked = True  # what is a module

    def __init__(self, database_url: str, redis_url: str, **settings: object) -> None:
        self.env = {
            **{k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "LANG", "PYTHONPATH"}},
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "LOG_FORMAT": "text",
            "LOG_LEVEL": "debug",
            "KEYS_FILE": os.devnull,  # the checkout may have keys
            **{name.upper(): str(value) for name, value in settings.items()},
        }
        self.processes: list[Process] = []
        self.client: httpx2.AsyncClient

    async def start_api(self) -> Process:
        """Start an API process, and the client for it."""
        api = self.launch_api()
        self.client = httpx2.AsyncClient(base_url=self.url, timeout=10)

        async def is_live() -> bool:
            if api.exit is not None:
                raise AssertionError(api.output())
            try:
                return (await self.client.get("/livez")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(is_live, PATIENCE_SECONDS)
        return api

    def launch_api(self) -> Process:
        """Start an API process on a socket of its own, and wait for nothing."""
        with listen() as listener:
            self.url = url_of(listener)
            return self._start(["-m", "uvicorn", *self.app, *OPTIONS, "5"], given=listener.fileno())

    async def start_consumer(self, **settings: object) -> Process:
        """Start a consumer process and wait until it claims."""
        consumer = self.launch_consumer(**settings)
        await consumer.wrote("consumer started", PATIENCE_SECONDS)
        return consumer

    def launch_consumer(self, **settings: object) -> Process:
        """Start a consumer process, and wait for nothing."""
        env = {name.upper(): str(value) for name, value in settings.items()}
        return self._start(["-m", "app.consumer"], env=env)

    def launch_quarantine(self, starter: int) -> Process:
        """Start a process for suspects, as the consumer with this pid would."""
        return self._start(["-m", "app.consumer", "--quarantine", str(starter)])

    def _start(self, arguments: Sequence[str], env: dict[str, str] | None = None, given: int | None = None) -> Process:
        is_forked = self.is_forked and arguments[0] == "-m"
        process = Process(arguments, self.env | (env or {}), given, is_forked=is_forked)
        self.processes.append(process)
        return process

    async def create(self, content: Any = "hello", **fields: Any) -> dict[str, Any]:
        """POST a task; the answer, which must be 201."""
        answer = await self.client.post("/task", json={"content": content, **fields})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def get(self, task_id: str) -> dict[str, Any]:
        """GET a task."""
        answer = await self.client.get(f"/task/{task_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def reaches(self, task_id: str, status: str, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until the task has this status; the seconds it took. A failure says what the processes wrote."""

        async def fact() -> bool:
            return bool((await self.get(task_id))["status"] == status)

        try:
            return await until(fact, seconds)
        except AssertionError as error:
            wrote = "\n".join(process.output()[-3000:] for process in self.processes)
            raise AssertionError(f"{error}, but {await self.get(task_id)}\n{wrote}") from None

    async def close(self) -> None:
        """Kill what is left."""
        if hasattr(self, "client"):
            await self.client.aclose()
        for process in self.processes:
            await process.kill()

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Kill what is left."""
        await self.close()


@asynccontextmanager
async def service(database_url: str, redis_url: str, **settings: object) -> AsyncIterator[Service]:
    """An API process, ready; start consumers as needed."""
    async with Service(database_url, redis_url, **settings) as running:
        await running.start_api()
        yield running
