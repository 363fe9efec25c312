"""Which tasks are meant: by a list, or by an action on many."""

from dataclasses import field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from app.core.task import Priority, TaskStatus

LOWEST_ID = UUID(int=0)
HIGHEST_ID = UUID(int=2**128 - 1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MILLISECOND = 2**48 - 1
_CLOCKS_APART = timedelta(minutes=10)  # an id has its API's time, an end that of PostgreSQL


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class TaskFilter:
    """All that is said must hold; what is left empty does not matter.

    Times are from `..._after` on, and before `..._before`. Creation counts by the time in the id, to the millisecond.
    `content`: names at the top of an object, and their values as text.
    """

    statuses: tuple[TaskStatus, ...] = ()
    kinds: tuple[str, ...] = ()
    group: UUID | None = None
    priority: Priority | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    content: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The same for what means the same, if its tuples and names are sorted."""
        return _AS_JSON.dump_json(self)

    @property
    def lowest_id(self) -> UUID:
        """No task that is meant has a lower one."""
        return LOWEST_ID if self.created_after is None else first_id(self.created_after)

    @property
    def highest_id(self) -> UUID:
        """Those of tasks that are meant are lower. A task is not made after its end, so that bounds it as well."""
        bounds = [HIGHEST_ID]
        if self.created_before is not None:
            bounds.append(first_id(self.created_before))
        if self.finished_before is not None:
            bounds.append(first_id(self.finished_before, _CLOCKS_APART))
        return min(bounds)


_AS_JSON = TypeAdapter(TaskFilter)


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class Visible:
    """Whose tasks there are at all: everybody's, or those of one tenant (None is one like any other)."""

    is_all: bool
    tenant: str | None = None


def first_id(time: datetime, more: timedelta = timedelta()) -> UUID:
    """The lowest id (UUID version 7) of this millisecond, and `more`."""
    milliseconds = (time - _EPOCH + more) // timedelta(milliseconds=1)
    return UUID(int=min(max(milliseconds, 0), _LATEST_MILLISECOND) << 80)
