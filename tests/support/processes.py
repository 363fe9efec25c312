"""Real processes: the API and consumers, as in production."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx2

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0


class Process:
    """A child process whose output can be read while it runs."""

    def __init__(self, command: list[str], env: dict[str, str], pass_fds: tuple[int, ...] = ()) -> None:
        self._log = tempfile.NamedTemporaryFile(prefix="taskmill-test-", suffix=".log")  # noqa: SIM115 - lives as long
        self.popen = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=self._log, stderr=self._log, pass_fds=pass_fds, start_new_session=True
        )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.popen.pid

    def output(self) -> str:
        """All it has written so far."""
        return Path(self._log.name).read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    async def exit_code(self, seconds: float = 30) -> int:
        """Wait for its end."""
        await until(self._has_ended, seconds)
        assert self.popen.returncode is not None
        return self.popen.returncode

    async def wrote(self, text: str, seconds: float = 15) -> None:
        """Wait until its output has this text."""

        async def fact() -> bool:
            return text in self.output()

        try:
            await until(fact, seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not in its output: {self.output()[-3000:]}") from None

    def kill(self) -> None:
        """End it and what it started."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()
        self._log.close()

    async def _has_ended(self) -> bool:
        return self.popen.poll() is not None


class Service:
    """An API process and any number of consumers on one database, and a client of it."""

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
        """Start an API process on a socket of its own, and the client for it."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            fd = listener.fileno()
            command = [
                *(sys.executable, "-m", "uvicorn", "--factory", "app.main:create_app", "--fd", str(fd)),
                *("--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log"),
                *("--log-config", "config/uvicorn.log.conf.yml", "--timeout-graceful-shutdown", "5"),
            ]
            api = self._start(command, pass_fds=(fd,))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.client = httpx2.AsyncClient(base_url=self.url, timeout=10)

        async def is_live() -> bool:
            if api.popen.poll() is not None:
                raise AssertionError(api.output())
            try:
                return (await self.client.get("/livez")).status_code == 200
            except httpx2.TransportError:
                return False

        await until(is_live, START_SECONDS)
        return api

    async def start_consumer(self, **settings: object) -> Process:
        """Start a consumer process and wait until it claims."""
        consumer = self.launch_consumer(**settings)
        await consumer.wrote("consumer started", START_SECONDS)
        return consumer

    def launch_consumer(self, **settings: object) -> Process:
        """Start a consumer process, and wait for nothing."""
        env = {name.upper(): str(value) for name, value in settings.items()}
        return self._start([sys.executable, "-m", "app.consumer"], env=env)

    def launch_quarantine(self, starter: int) -> Process:
        """Start a process for suspects, as the consumer with this pid would."""
        return self._start([sys.executable, "-m", "app.consumer.quarantined", "--quarantine", str(starter)])

    def _start(self, command: list[str], env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> Process:
        process = Process(command, self.env | (env or {}), pass_fds)
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

    async def reaches(self, task_id: str, status: str, seconds: float = 10) -> float:
        """Wait until the task has this status; the seconds it took."""

        async def fact() -> bool:
            return bool((await self.get(task_id))["status"] == status)

        fact.__doc__ = f"{task_id} is {status}"
        return await until(fact, seconds)

    async def close(self) -> None:
        """Kill what is left."""
        if hasattr(self, "client"):
            await self.client.aclose()
        for process in self.processes:
            await asyncio.to_thread(process.kill)

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
