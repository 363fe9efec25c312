"""Schedules of SCHEDULES_FILE: made when a consumer starts; a wrong file stops the start."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, service

QUICK = {"beat_seconds": 0.3, "lease_seconds": 1.2, "poll_seconds": 0.3, "simulate_seconds": 0}
MINUTELY = {"cron": "* * * * *", "content": "hello"}


async def test_declared_schedules(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Made when a consumer starts; the API shows and runs them, and leaves changes to the file."""
    path = tmp_path / "schedules.toml"
    path.write_text('[schedule.nightly]\ncron = "30 2 * * *"\ntimezone = "Europe/Berlin"\ncontent = "from the file"\n')
    async with service(database_url, redis_url, **QUICK, schedules_file=path) as taskmill:
        client = taskmill.client
        await client.put("/schedule/clients", json=MINUTELY)
        first = await taskmill.start_consumer()
        declared = (await client.get("/schedule/nightly")).json()
        assert (declared["declared"], declared["content"]) == (True, "from the file")
        for answer in (
            await client.put("/schedule/nightly", json=MINUTELY),
            await client.delete("/schedule/nightly"),
        ):
            assert answer.status_code == 409
            assert "SCHEDULES_FILE" in answer.json()["detail"]
        assert (await client.post("/schedule/nightly/run")).json()["content"] == "from the file"
        await taskmill.start_consumer()
        assert (await client.get("/schedule/nightly")).json() == declared
        first.signal(signal.SIGTERM)
        path.write_text('[schedule.clients]\ncron = "0 * * * *"\ncontent = 2\n')
        await taskmill.start_consumer()
        assert (await client.get("/schedule/nightly")).status_code == 404
        taken = (await client.get("/schedule/clients")).json()
        assert (taken["declared"], taken["cron"]) == (True, "0 * * * *")


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "app.consumer"],
        ["-c", "from app.main import create_app; create_app()"],
        ["-m", "app.embedded.serve"],
        ["-m", "app.embedded"],
    ],
    ids=["consumer", "api", "serve", "make run"],
)
def test_a_wrong_file_stops_the_start(command: list[str], tmp_path: Path) -> None:
    """Of everything, with one line that names file, schedule and field."""
    path = tmp_path / "schedules.toml"
    path.write_text('[schedule.nightly]\ncron = "30 25 * * *"\ncontent = 1\n')
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": "redis://127.0.0.1:1",
            "SCHEDULES_FILE": str(path),
            "DATA_DIR": str(tmp_path / "data"),
            "RUN_DIR": str(tmp_path / "run"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    assert f"{path}: schedule.nightly.cron: its field for the hour is wrong" in line
