"""The id of a tick's task says which tick it is."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.queue.tick import task_id


@given(st.uuids(), st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_ticks_task_has_an_id_of_its_own(schedule_id: UUID, tick: datetime) -> None:
    """A UUID version 7 at the tick's time; another for another schedule, or another tick."""
    found = task_id(schedule_id, tick)
    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert found.int >> 80 == (tick - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert found == task_id(schedule_id, tick)
    assert found != task_id(schedule_id, tick + timedelta.resolution)
    assert found != task_id(UUID(int=schedule_id.int ^ 1), tick)


def test_the_id_of_a_tick_is_the_same_in_every_release() -> None:
    """During a deployment two of them make the same tick."""
    schedule_id = UUID("11111111-2222-4333-8444-555555555555")
    tick = datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    assert str(task_id(schedule_id, tick)) == "0192cb61-3b40-7df0-93f3-bf07ff2bbde5"
