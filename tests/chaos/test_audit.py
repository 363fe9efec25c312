"""What the audit makes PostgreSQL note of tasks and of what is written through checkpoints."""

from uuid import UUID, uuid4

import pytest

from tests.chaos.audit import install, read_audit
from tests.chaos.handlers import INSERT_EFFECT
from tests.chaos.history import History
from tests.support.types import Connection

CLAIM = uuid4()


@pytest.fixture
async def task(sql: Connection) -> UUID:
    """A task that runs under CLAIM."""
    await install(sql)
    task = uuid4()
    await sql.execute("INSERT INTO tasks (id, kind, content) VALUES ($1, 'chaos_noop', '{}')", task)
    await _change(sql, task, f"status = 'processing', attempt = 1, claim_id = '{CLAIM}', consumer_id = '{uuid4()}'")
    return task


async def _change(sql: Connection, task: UUID, columns: str) -> None:
    await sql.execute(f"UPDATE tasks SET {columns}, version = version + 1 WHERE id = $1", task)


async def _read(sql: Connection) -> History:
    history = History()
    await read_audit(sql, history)
    return history


async def test_a_change_of_an_ended_row_is_noted(sql: Connection, task: UUID) -> None:
    """Whatever it changes; and that a row was deleted."""
    await _change(sql, task, "progress = '{}'")  # of a running task that is none
    await _change(sql, task, "status = 'completed', result = '1'")
    await _change(sql, task, "result = '2'")
    await sql.execute("DELETE FROM tasks")
    changes = (await _read(sql)).transitions
    assert [(change.old, change.new, change.version) for change in changes] == [
        ("", "pending", 1),
        ("pending", "processing", 2),
        ("processing", "completed", 4),
        ("completed", "completed", 5),
        ("completed", "deleted", 5),
    ]


async def test_errors_are_noted_of_those_that_are_tried_again_as_well(sql: Connection, task: UUID) -> None:
    """There they have gone to the history."""
    await _change(sql, task, """status = 'pending', history = '[{"code": "timeout", "message": "late"}]'""")
    await _change(sql, task, f"status = 'processing', claim_id = '{uuid4()}'")
    await _change(sql, task, "status = 'pending', claim_id = NULL")
    await _change(sql, task, f"status = 'processing', claim_id = '{uuid4()}'")
    await _change(sql, task, """status = 'failed', error = '{"code": "handler_error", "message": "bad"}'""")
    errors = [(change.error_code, change.message) for change in (await _read(sql)).transitions]
    assert [error for error in errors[2:] if error != ("", "")] == [("timeout", "late"), ("handler_error", "bad")]


async def test_it_is_noted_who_waits_for_a_place(sql: Connection, task: UUID) -> None:
    """By the row as the change has found it: the cancel of one that was let through makes room for another."""
    await sql.execute("UPDATE tasks SET status = 'pending', is_blocked = true")
    await sql.execute("UPDATE tasks SET is_blocked = false")
    await _change(sql, task, "status = 'canceled'")
    await sql.execute("UPDATE tasks SET status = 'pending', is_blocked = true")
    await _change(sql, task, "status = 'canceled'")
    changes = (await _read(sql)).transitions
    found = [(change.old, change.was_blocked) for change in changes if change.new == "canceled"]
    assert found == [("pending", False), ("pending", True)]


async def test_an_effect_is_noted_with_the_claim_that_its_transaction_has_met(sql: Connection, task: UUID) -> None:
    """Within the fence; past it; and where another holds the task by then."""
    await sql.execute(INSERT_EFFECT, task, 1, 1, str(CLAIM))
    async with sql.transaction():
        await sql.execute(INSERT_EFFECT, task, 2, 2, str(CLAIM))
        await _change(sql, task, "cursor = '2'")
    async with sql.transaction():
        await sql.execute(INSERT_EFFECT, task, 3, 3, str(CLAIM))
        await _change(sql, task, "status = 'canceled', cursor = '3'")
    found = {effect.n: (effect.claim, effect.holder, effect.status) for effect in (await _read(sql)).effects}
    claim = str(CLAIM)
    assert found == {1: (claim, "", ""), 2: (claim, claim, "processing"), 3: (claim, claim, "canceled")}
