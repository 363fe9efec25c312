"""What `make run` executes, started for real: PostgreSQL, Valkey, the API and a consumer under one Supervisor."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.types import Connection
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90
STOP_SECONDS = 60
TASK_SECONDS = 20
SIMULATE_SECONDS = "0.2"


class Run:
    """One `python -m app.embedded`, in a session of its own, as under a terminal."""

    def __init__(self, data: Path, port: int, log: Path, **variables: str) -> None:
        # As on a developer's machine: what the test run has set for itself does not count.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        kept["KEYS_FILE"] = os.devnull  # the checkout may have keys
        settings = {"DATA_DIR": str(data), "PORT": str(port), "SIMULATE_SECONDS": SIMULATE_SECONDS}
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.embedded", "--env-file", ".env.dev"],
                cwd=ROOT,
                env=kept | settings | variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Everything on the terminal so far."""
        return self._log.read_text(errors="replace")

    def await_banner(self) -> None:
        """Wait until it says that it is up."""
        end = time.monotonic() + START_SECONDS
        while "Ctrl-C" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.1)

    def interrupt(self) -> int:
        """Press Ctrl-C, which reaches the whole process group; the exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def supervisor(self) -> int:
        """The process id of its Supervisor."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = [pid for pid in children if b"supervisord" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return int(found[0])


Start = Callable[..., Run]


@pytest.fixture
def data() -> Iterator[Path]:
    """Where every user may enter: pytest's own folders are closed to the one that the servers run as under root."""
    folder = Path(tempfile.mkdtemp(prefix="taskmill-test-"))
    folder.chmod(0o755)
    yield folder / "data"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runs, and stops at the end those that still live."""
    runs: list[Run] = []

    def start_one(data: Path, port: int, **variables: str) -> Run:
        runs.append(Run(data, port, tmp_path / f"{len(runs)}.log", **variables))
        return runs[-1]

    yield start_one
    for run in runs:
        if run.process.poll() is None:
            run.interrupt()


@pytest.fixture
def port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET, or POST where there is a body; the JSON of the answer."""
    request = urllib.request.Request(  # noqa: S310 - our own URL
        url,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
        found: dict[str, Any] = json.load(answer)
        return found


def await_completed(url: str) -> None:
    """Wait until the task is completed."""
    end = time.monotonic() + TASK_SECONDS
    while call(url)["status"] != "completed":
        assert time.monotonic() < end, call(url)
        time.sleep(0.05)


def test_it_runs_a_task_and_knows_it_after_ctrl_c(start: Start, data: Path, port: int) -> None:
    """Start, POST, completed, Ctrl-C, exit 0; the next start still knows the task, and nothing is left running."""
    run = start(data, port)
    run.await_banner()
    assert f"{run.url}/docs" in run.output
    assert str(data) in run.output
    task = f"{run.url}/task/{call(f'{run.url}/task', {'content': {'a': 1}})['id']}"
    await_completed(task)
    with urllib.request.urlopen(f"{run.url}/metrics") as answer:  # noqa: S310 - our own URL
        assert b"taskmill_tasks_completed_total 1.0" in answer.read().splitlines()  # which the consumer has counted
    assert run.interrupt() == 0, run.output

    again = start(data, port)
    again.await_banner()
    assert call(task)["status"] == "completed"
    assert call(task)["content"] == {"a": 1}
    assert again.interrupt() == 0, again.output
    assert not (data / "postgres18" / "postmaster.pid").exists()
    assert not (data / "run").exists()


def test_what_the_banner_tells_to_try_works(start: Start, data: Path, port: int) -> None:
    """The curl line, as a shell would read it, is answered with a task; a bare machine has no curl."""
    run = start(data, port)
    run.await_banner()
    line = re.search(r"^ +try +(curl .*)$", run.output, re.MULTILINE)
    assert line is not None, run.output
    curl, silently, url, _, header, _, body = shlex.split(line[1])
    assert (curl, silently) == ("curl", "-s")
    name, _, value = header.partition(": ")
    request = urllib.request.Request(url, body.encode(), {name: value})  # noqa: S310 - our own
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        assert json.load(answer)["status"] == "pending"


def test_a_second_start_says_so(start: Start, data: Path, port: int) -> None:
    """One line, and the first start goes on."""
    run = start(data, port)
    run.await_banner()
    second = start(data, port + 1)
    assert second.process.wait(START_SECONDS) == 1
    assert second.output.count("\n") == 1
    assert f"already runs on {data}" in second.output
    assert call(f"{run.url}/health")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("victims", ["launcher", "supervisor", "both"])
def test_a_killed_start_is_no_obstacle_to_the_next(start: Start, data: Path, port: int, victims: str) -> None:
    """Kill -9, and start again at once: up, with the accepted task."""
    run = start(data, port)
    run.await_banner()
    task = f"{run.url}/task/{call(f'{run.url}/task', {'content': {}})['id']}"
    supervisor = run.supervisor()
    if victims != "supervisor":
        run.process.kill()
    if victims != "launcher":
        os.kill(supervisor, signal.SIGKILL)
    assert run.process.wait(STOP_SECONDS) != 0

    again = start(data, port)
    again.await_banner()
    await_completed(task)


def test_a_long_data_folder_works(start: Start, data: Path, port: int) -> None:
    """Longer than a Unix socket's path may be."""
    run = start(data / ("x" * 60) / ("y" * 60), port)
    run.await_banner()
    assert run.interrupt() == 0, run.output


def test_one_line_says_what_is_wrong(start: Start, data: Path, port: int) -> None:
    """A taken port, a folder that can't be made, wrong settings: exit 1 and one line that names what to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        runs = {
            f"port {port} is taken": start(data, port),
            "can't write to the data folder /proc/nowhere": start(Path("/proc/nowhere"), port),
            "LEASE_SECONDS": start(data / "other", port, LEASE_SECONDS="1"),
            "has a %": start(data / "100%", port),
        }
        for words, run in runs.items():
            assert run.process.wait(START_SECONDS) == 1, run.output
            assert words in run.output
            assert run.output.count("\n") == 1, run.output


def test_a_failed_migration_stops_everything(start: Start, data: Path, port: int) -> None:
    """With an address that no waiting mends: exit 1, and Valkey, which had come up, is gone."""
    run = start(data, port, DATABASE_URL="postgresql://nobody:x@127.0.0.1:1/none?ssl=nonsense")
    assert run.process.wait(START_SECONDS) == 1
    assert "migration" in run.output
    assert not (data / "run").exists()


async def test_consumers_alone_need_no_port(
    start: Start, data: Path, database_url: str, redis_url: str, sql: Connection
) -> None:
    """Beside an API that has it, on servers of one's own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "API_PROCESSES": "0"}
        run = start(data, taken.getsockname()[1], **variables)
        await sql.execute("INSERT INTO tasks (id, kind, content) VALUES (gen_random_uuid(), 'simulate', '1')")

        async def is_completed() -> bool:
            assert run.process.poll() is None, run.output
            return bool(await sql.fetchval("SELECT status = 'completed' FROM tasks"))

        await until(is_completed, START_SECONDS)
        assert await asyncio.to_thread(run.interrupt) == 0
