"""Create a group: its row and its members, all or nothing, in one statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from app.core.errors import RejectedRowError
from app.core.events import Emit, GroupCreated, TasksCreated
from app.core.group import Group, NewGroup
from app.core.task import Hint
from app.db.engine import Database
from app.queue.create import INSERT_ROWS, columns
from app.queue.follow_up import FollowUp
from app.queue.idempotency import first_columns, first_cte, made
from app.queue.persist import persist
from app.queue.read_group import read_groups
from app.queue.then import then_columns
from app.queue.wakeup import Wakeup

# The ids are ours, so that it may be sent again. The group's row is what tells whether it was written before: then no
# member is, since those that there were may have been pruned.
INSERT_GROUP = f"""
made AS (
    INSERT INTO groups (id, on_failure, total, tenant, callback_url, then_kind, then_content, then_options, then_id)
    SELECT $15::uuid, $16::text, $17::int, $18::text, $19::text, $20::text, $21::text::json, $22::text::jsonb, $23::uuid
    {{condition}}
    ON CONFLICT (id) DO NOTHING
    RETURNING created_at
), members AS (
    {INSERT_ROWS} WHERE EXISTS (SELECT FROM made)
)
"""
_CREATE = f"WITH {INSERT_GROUP.format(condition='')} SELECT created_at FROM made"
_KEPT = timedelta(hours=24)
# It has an Idempotency-Key: created if it is the first of it.
_CREATE_KEYED = f"""
WITH {first_cte(23)}, {INSERT_GROUP.format(condition="WHERE $15 IN (SELECT ids[1] FROM first)")}
SELECT * FROM first
"""


def group_columns(group: NewGroup) -> tuple[object, ...]:
    """The arguments of INSERT_GROUP."""
    row = group.id, group.on_failure, len(group.members), group.tenant, group.callback_url
    return *columns(group.members), *row, *then_columns(group.then)


class GroupCreator:
    """Writes new groups, then wakes the consumers."""

    def __init__(
        self, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit, kept: timedelta = _KEPT
    ) -> None:
        self._database = database
        self._wakeup = wakeup
        self._follow_up = follow_up
        self._emit = emit
        self._kept = kept

    async def create(self, new: NewGroup) -> tuple[Group, Sequence[UUID]]:
        """Insert the group and its members; the group as it then stands, and the ids of its members.

        For an Idempotency-Key that is known it is the group that was created then, as it was then, with ids of its own.
        Raises KeyReusedError where that was another request's; RejectedRowError where PostgreSQL refuses a value; and
        DatabaseUnavailableError where PostgreSQL stayed away: whether the group was then created is unknown.
        """
        try:
            group, members = await persist(lambda: self._insert(new))
        except asyncpg.DataError as error:  # class 22: some value can't be stored
            raise RejectedRowError(f"PostgreSQL refuses the content of a task ({error.sqlstate}).") from error
        if group.id != new.id:
            return group, members
        # Strictly after the COMMIT, and never waited for: the rows are the outbox.
        self._wakeup.push(
            [
                Hint(task.id, task.kind, task.priority)
                for task in new.members
                if task.concurrency_key is None
                and not task.delay
                and (task.run_at is None or task.run_at <= group.created_at)
            ]
        )
        self._follow_up.freed({task.concurrency_key for task in new.members if task.concurrency_key is not None})
        self._emit(GroupCreated(new.id, group.total))
        self._emit(TasksCreated([task.id for task in new.members]))
        return group, members

    async def _insert(self, new: NewGroup) -> tuple[Group, Sequence[UUID]]:
        members = [task.id for task in new.members]
        then_id = None if new.then is None else new.then.id
        if new.idempotency is not None:
            keys = first_columns([(new.idempotency, [new.id, then_id, *members])], self._kept)
            rows = await self._database.fetch(_CREATE_KEYED, *group_columns(new), *keys)
            first = made(rows[0], new.idempotency)
            group_id, then_id, *members = first.ids
            return _open_group(new, group_id, then_id, first.created_at), members
        rows = await self._database.fetch(_CREATE, *group_columns(new))
        if not rows:  # an earlier try had committed after all
            return (await read_groups(self._database, [new.id]))[new.id], members
        return _open_group(new, new.id, then_id, rows[0][0]), members


def _open_group(new: NewGroup, group_id: UUID, then_id: UUID | None, created_at: datetime) -> Group:
    """The group as it is when it has just been created."""
    return Group(
        id=group_id,
        on_failure=new.on_failure,
        total=len(new.members),
        then_id=then_id,
        created_at=created_at,
        canceled_at=None,
        ended_at=None,
        pending=len(new.members),
        processing=0,
        completed=0,
        failed=0,
        canceled=0,
        done=None,
        done_of=None,
        errors="[]",
        tenant=new.tenant,
        callback_url=new.callback_url,
        version=len(new.members),
    )
