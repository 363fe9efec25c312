"""The curl lines of a page: run against a live service, and their answers held to those on the page."""

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

import httpx2

# What differs from run to run. An id on the page stands for the id that the service gave in its place.
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
_VOLATILE = {"next", "host", "pid", "version", "counts", "oldest_wait_seconds"}
_CHANCE = [(r"^retry: \d+", "retry: N"), (r"cursor=[\w-]+", "cursor=C"), (r"msg_[0-9a-f]{32}", "msg_ID")]
_OWN_HEADERS = {"date", "server", "content-length", "connection", "transfer-encoding"}


@dataclass
class Example:
    """A command and what it answers, as the page has them; `block` is the text that holds both."""

    block: str
    command: str
    answer: str


def examples(page: str) -> list[Example]:
    """The console blocks of a page that call curl."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        if block.startswith("$ curl"):
            command, _, answer = block.partition("\n")
            while command.endswith("\\") or command.count("'") % 2:
                line, _, answer = answer.partition("\n")
                command += "\n" + line
            found.append(Example(block, command.removeprefix("$ "), answer))
    return found


async def run(client: httpx2.AsyncClient, command: str, ids: dict[str, str]) -> str:
    """What the command prints. `ids`: those of the page, and what they are here."""
    for told, real in ids.items():
        command = command.replace(told, real)
    command, _, wanted = command.partition(" | grep ")
    words = shlex.split(command.replace("\\\n", " "))[1:]
    method, headers, body, url, shows_headers = None, {}, None, "", False
    while words:
        word = words.pop(0)
        match word:
            case "-s" | "-N" | "-sN":
                pass
            case "-i" | "-si" | "-is":
                shows_headers = True
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers[name.lower()] = value
            case "-d" | "--data-binary":
                body = words.pop(0).encode()
                headers.setdefault("content-type", "application/x-www-form-urlencoded")
            case _:
                assert not word.startswith("-"), word
                url = word.removeprefix("localhost:8000")
    answer = await client.request(method or ("GET" if body is None else "POST"), url, content=body, headers=headers)
    if wanted:
        return "".join(line + "\n" for line in answer.text.splitlines() if wanted in line)
    if not shows_headers:
        return answer.text.rstrip("\n") + "\n"
    lines = [f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items() if name not in _OWN_HEADERS]
    return "\n".join([*lines, "", answer.text]).rstrip("\n") + "\n"


def learn(told: str, real: str, ids: dict[str, str]) -> None:
    """Take in which ids of the page stand for which here: those in the same places."""
    for ours, theirs in zip(re.findall(_UUID, told), re.findall(_UUID, real), strict=False):
        ids.setdefault(ours, theirs)


def masked(answer: str) -> str:
    """The answer without what differs from run to run."""
    lines = []
    for line in answer.splitlines():
        head, brace, rest = line.partition("{")
        try:
            value = json.loads(brace + rest)
            line = head + json.dumps(_masked(value))  # noqa: PLW2901 - the same line, masked
        except ValueError:
            pass
        line = re.sub(_TIME, "TIME", re.sub(_UUID, "ID", line))  # noqa: PLW2901 - the same line, masked
        for pattern, instead in _CHANCE:
            line = re.sub(pattern, instead, line)  # noqa: PLW2901 - the same
        lines.append(line)
    return "\n".join(lines)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "..." if name in _VOLATILE else _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return "NUMBER" if isinstance(value, float) else value
