"""Spawn: tasks and groups that handlers make, behind the fence of the task that makes them (docs/groups.md)."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from uuid import UUID

import asyncpg

from app.core.errors import DatabaseUnavailableError, LostClaimError, RejectedRowError
from app.core.events import Emit, GroupCreated, TasksCreated
from app.core.group import NewGroup
from app.core.task import Claim, Hint, NewTask
from app.db.engine import Database
from app.queue.admit import admit
from app.queue.create import INSERT_ROWS, columns
from app.queue.create_group import INSERT_GROUP, group_columns
from app.queue.persist import persist
from app.queue.wakeup import Wakeup

# The fence: whoever cancels the parent, or takes it away, waits for the lock and so comes after the children, or comes
# before and leaves no row to lock. Primary key: queue/finish.py says why it is written IS TRUE.
_PARENT = """
parent AS MATERIALIZED (
    SELECT FROM tasks WHERE id = {id} AND claim_id = {claim_id} AND (status = 'processing') IS TRUE FOR NO KEY UPDATE
)
"""
_IF_HELD = "WHERE EXISTS (SELECT FROM parent)"

# The ids follow from the parent's, so what an earlier attempt has made is left alone, also by a statement that is sent
# again since its COMMIT got no answer.
_SPAWN = f"""
WITH {_PARENT.format(id="$15", claim_id="$16")}, created AS (
    {INSERT_ROWS} {_IF_HELD} ON CONFLICT (id) DO NOTHING RETURNING id
)
SELECT EXISTS (SELECT FROM parent) AS is_held, ARRAY(SELECT id FROM created) AS created
"""
_SPAWN_GROUP = f"""
WITH {_PARENT.format(id="$24", claim_id="$25")}, {INSERT_GROUP.format(condition=_IF_HELD)}
SELECT EXISTS (SELECT FROM parent) AS is_held, EXISTS (SELECT FROM made) AS is_made
"""


def derived_id(parent: UUID, key: str, part: str) -> UUID:
    """The id of what a task makes by a key: the same in each of its attempts (UUID version 8, RFC 9562).

    Its first 48 bits are the parent's, which in version 7 are the time, so that children land near their parent in the
    index, and not all over it.
    """
    digest = sha256(b"\0".join((parent.bytes, part.encode(), key.encode("utf-8", "surrogatepass")))).digest()
    bits = bytearray(parent.bytes[:6] + digest[:10])
    bits[6] = 0x80 | bits[6] & 0x0F  # version
    bits[8] = 0x80 | bits[8] & 0x3F  # variant
    return UUID(bytes=bytes(bits))


class Spawner:
    """Creates what handlers ask for, while they hold their own tasks."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit

    async def spawn(self, claim: Claim, tasks: Sequence[NewTask]) -> None:
        """Create these tasks; those that are there stay as they are.

        Raises LostClaimError, RejectedRowError and DatabaseUnavailableError: none is created, or, with the last, it is
        unknown and the same call tells.
        """
        created = set((await self._write(_SPAWN, *columns(tasks), claim.id, claim.claim_id))["created"])
        await self._announce([task for task in tasks if task.id in created])

    async def spawn_group(self, claim: Claim, group: NewGroup) -> None:
        """Create this group with its members; one that is there stays as it is. Raises as spawn."""
        row = await self._write(_SPAWN_GROUP, *group_columns(group), claim.id, claim.claim_id)
        if row["is_made"]:
            self._emit(GroupCreated(group.id, len(group.members)))
            await self._announce(group.members)

    async def _write(self, statement: str, *arguments: object) -> asyncpg.Record:
        try:
            (row,) = await persist(lambda: self._database.fetch(statement, *arguments))
        except asyncpg.DataError as error:  # class 22: some value can't be stored
            raise RejectedRowError(f"PostgreSQL refuses the content of a child ({error.sqlstate}).") from error
        if not row["is_held"]:
            raise LostClaimError
        return row

    async def _announce(self, tasks: Sequence[NewTask]) -> None:
        """Strictly after the COMMIT; polls and sweeps find what nobody hears of."""
        if not tasks:
            return
        self._emit(TasksCreated([task.id for task in tasks]))
        self._wakeup.push([Hint(t.id, t.kind, t.priority) for t in tasks if t.concurrency_key is None and not t.delay])
        keys = {task.concurrency_key for task in tasks if task.concurrency_key is not None}
        if keys:
            with suppress(DatabaseUnavailableError):
                self._wakeup.push(await admit(self._database, sorted(keys)))
