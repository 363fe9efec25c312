"""What became of the tasks that a consumer held: all of them are accounted for, and a late recovery is found."""

import re
import time
from uuid import UUID, uuid4

import pytest

from tests.chaos.audit import install
from tests.chaos.lateness import Lateness
from tests.chaos.recovery import BOUND_SECONDS, Gone, Left, Recovery, recovery
from tests.chaos.scene import LEASE_SECONDS, SWEEP_SECONDS
from tests.support.types import Connection

CONSUMER = uuid4()
_CLAIM = "status = 'processing', attempt = attempt + 1, claim_id = gen_random_uuid(), consumer_id = $2"
_LOSE = "status = 'pending', lost_count = lost_count + 1, claim_id = NULL, consumer_id = NULL"
_CANCEL = "status = 'canceled', finished_at = now()"
_COMPLETE = "status = 'completed', finished_at = now(), result = '1'"


async def _held(sql: Connection) -> UUID:
    """A task that CONSUMER runs."""
    task = uuid4()
    await sql.execute("INSERT INTO tasks (id, kind, content) VALUES ($1, 'chaos_noop', '{}')", task)
    await sql.execute(f"UPDATE tasks SET {_CLAIM}, version = version + 1 WHERE id = $1", task, CONSUMER)
    return task


async def _change(sql: Connection, task: UUID, columns: str) -> None:
    await sql.execute(f"UPDATE tasks SET {columns}, version = version + 1 WHERE id = $1", task)


async def test_the_figures_add_up(sql: Connection) -> None:
    """What was held and not recovered has gone some other way, or is held still; what ended before was not held."""
    await install(sql)
    await _change(sql, await _held(sql), _COMPLETE)
    held = [await _held(sql) for _ in range(5)]
    gone = [Gone(str(CONSUMER), time.time())]
    for task, columns in zip(held, (_LOSE, _LOSE, _CANCEL, _COMPLETE), strict=False):
        await _change(sql, task, columns)
    facts = (await recovery(sql, gone)).facts
    assert facts["tasks held at that moment"] == "5"
    assert facts["of these recovered"].startswith("2 (")
    others = "1 canceled meanwhile, 1 completed by a statement that was under way, 1 held by them still"
    assert sorted(facts["and not"].split(", ")) == others.split(", ")


@pytest.mark.parametrize(
    ("seconds", "slow", "violations"),
    [(LEASE_SECONDS, (0, 0), 0), (LEASE_SECONDS + SWEEP_SECONDS + 0.1, (1, 0), 0), (BOUND_SECONDS + 0.1, (1, 1), 1)],
)
def test_a_late_recovery_is_found(seconds: float, slow: tuple[int, int], violations: int) -> None:
    """What needs the allowance is counted, and what is later than that is a violation."""
    left = [Left("task", "consumer", seconds, "pending", is_lost=True, is_burnt=False, is_released=False)]
    found = Recovery([Gone("consumer", 0.0)], left, 0)
    assert "; {} after lease + 1 sweep, {} of them by more".format(*slow) in found.facts["of these recovered"]
    assert len(found.violations(Lateness())) == violations


async def test_a_late_recovery_says_what_the_leases_tell(sql: Connection) -> None:
    """When the consumer was declared dead, and how long those were silent that could have done it sooner."""
    await install(sql)
    gone = Gone(str(CONSUMER), time.time() - 9.0)
    slow, buried, silent = uuid4(), uuid4(), uuid4()
    beats = {CONSUMER: [-0.1, 4.0], slow: [-20.0, -1.0, 0.5, 2.5, 3.0, 3.5, 8.9], buried: [-0.4, 2.6], silent: [-0.2]}
    rows = [(gone.at + at, who, who in {CONSUMER, buried} and at > 0) for who, times in beats.items() for at in times]
    await sql.executemany("INSERT INTO leases VALUES (to_timestamp($1), $2, $3)", rows)
    await _change(sql, await _held(sql), _LOSE)
    (violation,) = (await recovery(sql, [gone])).violations(Lateness())
    assert "(declared dead after 4.00 s; " in violation
    assert re.search(r"of each that lived meanwhile: 5\.40, 9\.\d\d s\)", violation)
