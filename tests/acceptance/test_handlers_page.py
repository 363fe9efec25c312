"""docs/handlers.md: its example runs as written."""

import json
import re
import shlex
from pathlib import Path

import pytest

from app.core.task import ErrorCode
from tests.support.processes import ROOT, Service, service

PAGE = (ROOT / "docs" / "handlers.md").read_text()


def _block(language: str, number: int = 0) -> str:
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return blocks[number]


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The folder of the example's module."""
    (tmp_path / "greetings.py").write_text(_block("python"))
    return tmp_path


def _curl(line: str) -> tuple[str, bytes]:
    """The path and the body of a curl line."""
    words = shlex.split(line.removeprefix("$ "))
    return words[2].removeprefix("localhost:8000"), words[words.index("-d") + 1].encode()


async def _post(taskmill: Service, line: str) -> str:
    path, body = _curl(line)
    answer = await taskmill.client.post(path, content=body, headers={"content-type": "application/json"})
    return answer.text


async def test_the_example_runs_as_written(database_url: str, redis_url: str, module: Path) -> None:
    """The module, the variables, the calls and their answers."""
    variables = dict(re.findall(r"(\w+)=(\S+)", _block("sh")))
    assert variables["PYTHONPATH"] == "/tmp/mine"  # noqa: S108 - as the page has it
    settings = {"pythonpath": module, "handler_modules": variables["HANDLER_MODULES"]}
    async with service(database_url, redis_url, **settings) as taskmill:
        await taskmill.start_consumer()
        task = json.loads(await _post(taskmill, _block("console", 0).splitlines()[0]))
        await taskmill.reaches(task["id"], "completed")
        ended = await taskmill.get(task["id"])
        told = json.loads(_block("json"))
        assert {name: ended[name] for name in told} == told
        line, answer = _block("console", 1).splitlines()
        assert await _post(taskmill, line) == answer


def test_the_page_has_every_code() -> None:
    """The taxonomy is closed, so the page can be complete."""
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(ErrorCode)
