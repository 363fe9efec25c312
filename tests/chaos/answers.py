"""What the API's answers say of tasks and groups."""

from http import HTTPStatus
from typing import NamedTuple

from pydantic_core import from_json

from tests.chaos.history import STATUSES, Outcome


class Made(NamedTuple):
    """What an answer speaks of."""

    ids: tuple[str, ...] = ()
    group: str = ""
    status: str = ""
    version: int = 0
    counts: tuple[int, ...] = ()


def outcome_of(code: int) -> Outcome:
    """What a client knows by this HTTP status, or by 0: there was none."""
    if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome.OK
    # 429 of a busy database may come after a part has been done.
    if HTTPStatus.BAD_REQUEST <= code < HTTPStatus.INTERNAL_SERVER_ERROR and code != HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome.FAIL
    return Outcome.UNKNOWN


def made_by(data: bytes) -> Made:
    """What the body of a 2xx says; a schedule says nothing of tasks."""
    answer = from_json(data)
    if "items" in answer:
        return Made(tuple(item["task"]["id"] for item in answer["items"] if "task" in item))
    if "counts" in answer:
        ids = [*answer.get("task_ids", ()), *filter(None, [answer["then_task_id"]])]
        counts = answer["total"], *(answer["counts"][status] for status in STATUSES)
        return Made(tuple(ids), answer["id"], answer["status"], counts=counts)
    if "id" in answer:
        return Made((answer["id"],), status=answer["status"], version=answer["version"])
    return Made()


def made_by_lines(data: bytes) -> tuple[Made, bool]:
    """The tasks in those lines that have come whole; and whether no line has an error."""
    answers = [from_json(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    ids = tuple(answer["task"]["id"] for answer in answers if "task" in answer)
    return Made(ids), len(ids) == len(answers)
