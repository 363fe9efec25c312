"""Schemathesis, which makes requests of the description, good and bad, and checks the answers against it."""

import asyncio
import faulthandler
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.test_documentation import OPERATIONS
from tests.support.callbacks import SECRET
from tests.support.processes import ROOT, Service, service
from tests.support.servers import Servers

SEED = 20241028
REQUESTS_PER_OPERATION = 15
SECONDS = 240.0


@pytest.fixture(scope="module")
async def live(servers: Servers, live_database_url: str) -> AsyncIterator[Service]:
    """An API process that takes bodies of any length here: to Schemathesis a 413 is no answer to too many tasks.

    And that forgets each Idempotency-Key at once, as Schemathesis sends the same with another body.
    """
    settings = {"body_limit_bytes": 2**26, "callback_secrets": SECRET, "idempotency_hours": 1e-9}
    async with service(live_database_url, servers.redis_url, **settings) as running:
        yield running


async def test_schemathesis_finds_nothing(live: Service, tmp_path: Path) -> None:
    """All checks, all phases (examples, coverage, fuzzing, chains of calls), the same requests each time."""
    faulthandler.cancel_dump_traceback_later()  # pyproject.toml's 120 s: this takes longer, and has its own limit
    schemathesis = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{live.url}/openapi.json"),
        *("--checks", "all", "--mode", "all", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--seed", str(SEED), "--max-examples", str(REQUESTS_PER_OPERATION), "--continue-on-failure"),
        *("--request-timeout", "10", "--max-response-time", "5", "--generation-database", "none", "--no-color"),
        *("--warnings", "missing_auth,validation_mismatch"),  # nothing fails here, so there is nothing to retry
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.acceptance.schemathesis_hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        output = (await schemathesis.communicate())[0].decode()
    assert schemathesis.returncode == 0, output
    assert f"Selected: {len(OPERATIONS)}/{len(OPERATIONS)}" in output
    assert f"Tested: {len(OPERATIONS)}" in output
    assert "No issues found" in output
