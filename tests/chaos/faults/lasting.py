"""Tasks that last, held by as many consumers as there are: so that whoever is broken next has something to lose."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from tests.chaos.client import Client
from tests.chaos.faults.insisting import insist
from tests.support.types import Connection
from tests.support.waiting import until

_EACH = 3  # of one call: a consumer that waits takes them all, and the next call's are for the next one
_CALLS_EACH = 2  # for each consumer
_HOLD_SECONDS = 2.0  # less than any of them lasts, and is to go on after that

_HOLDERS = """
SELECT consumer_id::text, array_agg(id::text) FROM tasks
WHERE id = ANY($1::uuid[]) AND status = 'processing' AND lost_count = 0 GROUP BY 1
"""


class Lasting(NamedTuple):
    """Tasks, and who held which of them, for the first time, when all had been started that were in time."""

    ids: Sequence[str]
    held: Mapping[str, Sequence[str]]  # by the consumer's id


async def give_lasting(client: Client, sql: Connection, marker: str, seconds: float, consumers: int) -> Lasting:
    """Some for each of so many consumers, that last so long; returns when they have been started, or not in time."""
    ids: list[str] = []
    for number in range(_CALLS_EACH * consumers):
        # One call after another, lest the consumer that comes first takes them all.
        name = f"{marker}-{number}"
        content = {"marker": name, "seconds": seconds}
        tasks = [
            {"kind": "chaos_sleep", "priority": "high", "content": content | {"index": index}} for index in range(_EACH)
        ]
        ids += (await insist(lambda name=name, tasks=tasks: client.batch(tasks, name, name))).ids  # type: ignore[misc]
    held: dict[str, list[str]] = {}

    async def fact() -> bool:
        held.clear()
        held.update({row[0]: row[1] for row in await sql.fetch(_HOLDERS, ids)})
        return sum(map(len, held.values())) == len(ids)

    with suppress(AssertionError):  # whoever holds some by now has these to lose
        await until(fact, _HOLD_SECONDS)
    return Lasting(ids, held)
