"""What follows a task's leaving: others with its key are let through, and its group may have ended."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from uuid import UUID

from app.core.errors import DatabaseUnavailableError
from app.core.events import Emit, GroupEnded, MembersCanceled, TasksCreated
from app.core.task import Hint, Priority
from app.db.engine import Database
from app.queue.admit import admit
from app.queue.callback import KIND
from app.queue.finish import Left
from app.queue.settle import Ended, cancel_rest, end, find_due
from app.queue.wakeup import Wakeup
from app.utils.batcher import Batcher

_BATCH = 500
_ENDS = 50  # groups in one statement, which counts all their members


class FollowUp:
    """Nobody waits for it, and each sweep makes up for one that was lost."""

    def __init__(self, database: Database, wakeup: Wakeup, emit: Emit) -> None:
        self._database = database
        self._wakeup = wakeup
        self._emit = emit
        self._keys: Batcher[str, None] = Batcher(self._admit, _BATCH)
        self._groups: Batcher[UUID, None] = Batcher(self._settle, _BATCH)

    def left(self, tasks: Iterable[Left]) -> None:
        """These tasks have ended, or gone back to pending."""
        groups = set()
        changed = []
        told = []
        for task in tasks:
            changed.append(task.id)
            if task.delivery_id is not None:
                told.append(task.delivery_id)
            if task.concurrency_key is not None:
                self._keys.submit(task.concurrency_key)
            if task.group_id is not None:
                groups.add(task.group_id)
        for group_id in groups:
            self._groups.submit(group_id)
        self.changed((*changed, *groups))
        self.told(told)

    def changed(self, ids: Iterable[UUID]) -> None:
        """These tasks and groups have a new version, which is committed: whoever watches them is told."""
        self._wakeup.announce_changed(ids)

    def told(self, delivery_ids: Sequence[UUID]) -> None:
        """These deliveries were made, by what has ended."""
        if delivery_ids:
            self._wakeup.push([Hint(delivery_id, KIND, Priority.NORMAL) for delivery_id in delivery_ids])
            self._emit(TasksCreated(delivery_ids))

    def pending_again(self, tasks: Sequence[Left]) -> None:
        """These tasks can be claimed, or admitted, at once."""
        self._wakeup.push([Hint(t.id, t.kind, t.priority) for t in tasks if t.concurrency_key is None])
        self.left(tasks)

    def freed(self, keys: Iterable[str]) -> None:
        """These keys may have a place, and somebody who waits for it."""
        for key in keys:
            self._keys.submit(key)

    async def settle(self, group_ids: Sequence[UUID]) -> None:
        """Cancel the rest of those of these groups that are to stop, and end those that have nobody left.

        Raises DatabaseUnavailableError: then the next sweep does what is missing.
        """
        due = await find_due(self._database, group_ids)
        for group_id in due.stopping:
            await self._cancel_rest(group_id)
        for start in range(0, len(due.ids), _ENDS):
            self._ended(await end(self._database, due.ids[start : start + _ENDS]))

    async def drain(self) -> None:
        """Wait until everything is followed up."""
        await self._groups.drain()  # which may free keys
        await self._keys.drain()

    async def _cancel_rest(self, group_id: UUID) -> None:
        canceled = await cancel_rest(self._database, group_id)
        if canceled:
            self._wakeup.announce_canceled([task.id for task in canceled if task.was_running])
            self.freed({task.concurrency_key for task in canceled if task.concurrency_key is not None})
            self.told([task.delivery_id for task in canceled if task.delivery_id is not None])
            ids = [task.id for task in canceled]
            self.changed((*ids, group_id))
            self._emit(MembersCanceled(ids))

    def _ended(self, groups: Sequence[Ended]) -> None:
        self.changed(group.id for group in groups)
        for group in groups:
            self._emit(GroupEnded(group.id, group.completed, group.failed, group.canceled))
            self.told([] if group.delivery_id is None else [group.delivery_id])
            if group.then_id is None:
                continue
            assert group.then_kind is not None
            assert group.then_priority is not None
            if group.then_key is not None:
                self.freed([group.then_key])
            elif group.then_is_due:
                self._wakeup.push([Hint(group.then_id, group.then_kind, group.then_priority)])
            self._emit(TasksCreated([group.then_id]))

    async def _admit(self, keys: list[str]) -> Sequence[None]:
        with suppress(DatabaseUnavailableError):  # whoever needs PostgreSQL says so; the sweep finds the keys
            self._wakeup.push(await admit(self._database, sorted(set(keys))))
        return [None] * len(keys)

    async def _settle(self, group_ids: list[UUID]) -> Sequence[None]:
        with suppress(DatabaseUnavailableError):  # the same
            await self.settle(sorted(set(group_ids)))
        return [None] * len(group_ids)
