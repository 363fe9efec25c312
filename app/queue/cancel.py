"""Cancel: pending or processing → canceled (docs/protocol.md)."""

from collections.abc import Sequence
from uuid import UUID

from app.core.events import Emit, TasksCanceled
from app.core.task import Task
from app.db.engine import Database
from app.queue.callback import DELIVERY, TELL
from app.queue.finish import LEFT, LEFT_ENDED, Left
from app.queue.follow_up import FollowUp
from app.queue.read import COLUMNS, read_tasks
from app.queue.wakeup import Wakeup

# Once committed, nobody's finish matches the row any more: both ask for status = 'processing'. Primary key; locks in
# the order of ids, as every statement that can wait for a lock.
_CANCELING = """
WITH live AS MATERIALIZED (
    SELECT id FROM tasks
    WHERE id = ANY($1::uuid[]) AND status IN ('pending', 'processing')
    ORDER BY id
    {lock}
), ended AS (
    UPDATE tasks SET status = 'canceled', finished_at = clock_timestamp(), version = version + 1,
        updated_at = clock_timestamp()
    WHERE tasks.id = ANY(ARRAY(SELECT id FROM live))
    RETURNING {columns}, tasks.consumer_id IS NOT NULL AS was_running, {delivery}
), {tell}
SELECT {ended}, was_running FROM ended
"""
_TELL = {"delivery": DELIVERY, "tell": TELL.format(ended="ended")}
_WHOLE = _TELL | {"columns": COLUMNS, "ended": COLUMNS.replace("tasks.", "") + ", delivery_id"}
_CANCEL = _CANCELING.format(lock="FOR UPDATE SKIP LOCKED", **_WHOLE)
_CANCEL_MANY = _CANCELING.format(lock="FOR UPDATE SKIP LOCKED", columns=LEFT, ended=LEFT_ENDED, **_TELL)
_WAIT_AND_CANCEL_MANY = _CANCELING.format(lock="FOR UPDATE", columns=LEFT, ended=LEFT_ENDED, **_TELL)

# Primary key.
_COUNT = "SELECT count(*) FROM tasks WHERE id = ANY($1::uuid[]) AND (status = 'canceled') IS TRUE"


class Canceler:
    """Cancels tasks, and tells the consumers that run them."""

    def __init__(self, database: Database, wakeup: Wakeup, follow_up: FollowUp, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._follow_up = follow_up
        self._emit = emit

    async def cancel(self, ids: Sequence[UUID]) -> list[Task | None]:
        """Cancel what is still live; every task as it stands afterwards, None where there is none.

        Canceled now or before, a task is `canceled` in the answer; one that has ended otherwise can't be. One that is
        still live is being changed by somebody, who may take long, as a consumer that was frozen before its COMMIT:
        call this again, so that nobody waits for others' tasks. Raises DatabaseUnavailableError; the answer to a
        repeated call is then the same as if the first had got through.
        """
        canceled = await self._database.fetch(_CANCEL, ids)
        tasks = {row["id"]: Task(*row[:-2]) for row in canceled}
        left = [_left(tasks[row["id"]], row["delivery_id"]) for row in canceled]
        self._canceled(left, [row["id"] for row in canceled if row["was_running"]])
        others = [task_id for task_id in ids if task_id not in tasks]
        if others:
            tasks |= await read_tasks(self._database, others)
        return [tasks.get(task_id) for task_id in ids]

    async def cancel_all(self, ids: Sequence[UUID]) -> int:
        """Cancel what is still live of many; how many of them are canceled then, now or before. Raises as cancel."""
        canceled = await self._database.fetch(_CANCEL_MANY, ids)
        if len(canceled) < len(ids):  # those that somebody is changing, one waits for with few of one's own
            others = set(ids) - {row["id"] for row in canceled}
            canceled = [*canceled, *await self._database.fetch(_WAIT_AND_CANCEL_MANY, list(others))]
        running = [row["id"] for row in canceled if row["was_running"]]
        self._canceled([Left(*row[:-1]) for row in canceled], running)
        if len(canceled) == len(ids):
            return len(ids)
        return int((await self._database.fetch(_COUNT, ids))[0][0])

    def _canceled(self, left: Sequence[Left], running: Sequence[UUID]) -> None:
        if left:
            self._wakeup.announce_canceled(running)
            self._follow_up.left(left)
            self._emit(TasksCanceled([task.id for task in left]))


def _left(task: Task, delivery_id: UUID | None) -> Left:
    return Left(task.id, task.kind, task.priority, task.concurrency_key, task.group_id, delivery_id)
