"""What a consumer and its child processes say to each other: JSON, its length before it, over a socket pair.

First the child says that it is ready. From then on each job gets one answer.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.consumer.verdict import JsonText
from app.core.task import Claim, ErrorCode
from app.handler_api.outcome import Done, Fail, Outcome, Retry, Snooze

READY = {"ready": True}

_IDS = ("id", "claim_id", "group_id")

_LENGTH = struct.Struct(">I")
_LONGEST_ANSWER = 64 * 1_048_576  # a result has its own, smaller limit; more than this is no answer


class Ending(StrEnum):
    """How a run can end without an outcome."""

    LOST_CLAIM = "lost_claim"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Job:
    """What a child is to do."""

    claim: Claim
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """How it ended, as portable() of app/consumer/verdict.py has it, and the memory that the child holds, in bytes."""

    end: Outcome | Ending
    memory: int


def job_message(job: Job) -> dict[str, Any]:
    """A job as JSON values."""
    claim = asdict(job.claim)
    claim |= {name: str(claim[name]) for name in _IDS if claim[name] is not None}
    return {"claim": claim, "deadline": job.deadline and job.deadline.isoformat()}


def read_job(message: dict[str, Any]) -> Job:
    """The job in a message."""
    ids = {name: UUID(message["claim"][name]) for name in _IDS if message["claim"][name] is not None}
    deadline = message["deadline"]
    return Job(Claim(**message["claim"] | ids), deadline and datetime.fromisoformat(deadline))


def answer_message(answer: Answer) -> dict[str, Any]:
    """An answer as JSON values."""
    match answer.end:
        case Ending():
            end: Any = [answer.end]
        case Snooze(until):
            end = ["Snooze", until.isoformat()]
        case Done(result):
            end = ["Done", result]
        case Retry(after, reason, code):
            end = ["Retry", after, reason, code]
        case Fail(reason, code):
            end = ["Fail", reason, code]
    return {"end": end, "memory": answer.memory}


def read_answer(message: dict[str, Any]) -> Answer:
    """The answer in a message. Raises ValueError, LookupError and TypeError where there is none."""
    end: Outcome | Ending
    match message["end"]:
        case ["Done", result]:
            end = Done(None if result is None else JsonText(result))
        case ["Retry", after, reason, code]:
            end = Retry(after, reason, ErrorCode(code))
        case ["Fail", reason, code]:
            end = Fail(reason, ErrorCode(code))
        case ["Snooze", until]:
            end = Snooze(datetime.fromisoformat(until))
        case [other]:
            end = Ending(other)
        case _:
            raise ValueError("no end of a run")
    return Answer(end, int(message["memory"]))


def pack(message: dict[str, Any]) -> bytes:
    """A message as bytes. In ASCII, so that a lone surrogate in somebody's error text gets through."""
    body = json.dumps(message).encode()
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The consumer's side: the next message; None where the channel has ended, or carries something else."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        message = json.loads(await reader.readexactly(length)) if length <= _LONGEST_ANSWER else None
    except (OSError, EOFError, ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def messages(channel: socket.socket) -> Iterator[dict[str, Any]]:
    """The child's side: each message, waiting for it; ends where the consumer has gone."""
    with channel.makefile("rb") as file:
        while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
            (length,) = _LENGTH.unpack(head)
            body = file.read(length)
            if len(body) < length:
                return
            yield json.loads(body)
