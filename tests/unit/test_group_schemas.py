"""Groups in JSON: what is written by hand is what the models say, and what is spawned is held to what is posted."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.group_schemas import (
    CANCELED_GROUP_EXAMPLE,
    GROUP_EXAMPLE,
    NEW_GROUP_EXAMPLE,
    NEW_GROUP_EXAMPLES,
    GroupView,
    NewGroupBody,
    NewGroupView,
    render_group,
)
from app.api.new_task_schemas import TaskOptions
from app.core.group import Group
from app.handler_api.group import GroupResult
from app.handler_api.spawn import Child
from app.queue.then import sample_content

TIMES = st.datetimes(timezones=st.just(UTC))
COUNTS = st.integers(0, 10_000)
NUMBERS = st.integers(0, 10**20).map(str) | st.decimals(0, 10**6, places=3).map(str)
ERRORS = st.sampled_from(
    [
        [],
        [{"task_id": str(UUID(int=7)), "code": "timeout", "message": "é", "attempt": 2, "at": "2024-01-01T00:00:00Z"}],
    ]
)
GROUPS = st.builds(
    Group,
    id=st.uuids(),
    on_failure=st.sampled_from(["cancel_rest", "continue"]),
    total=COUNTS,
    then_id=st.none() | st.uuids(),
    created_at=TIMES,
    canceled_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
    pending=COUNTS,
    processing=COUNTS,
    completed=COUNTS,
    failed=COUNTS,
    canceled=COUNTS,
    done=st.none() | NUMBERS,
    done_of=st.none() | NUMBERS,
    errors=ERRORS.map(json.dumps),
)


@given(GROUPS, st.lists(st.uuids(), max_size=3))
@settings(max_examples=200, derandomize=True)
def test_render_group_is_the_json_of_group_view(group: Group, task_ids: list[UUID]) -> None:
    """The same fields in the same order with the same values; a new group has the ids of its members besides."""
    rendered = render_group(group)
    view = GroupView.model_validate_json(rendered)
    assert list(json.loads(rendered)) == list(json.loads(view.model_dump_json()))
    assert view.status == ("open" if group.ended_at is None else "ended")
    assert (view.created_at, view.canceled_at, view.ended_at) == (group.created_at, group.canceled_at, group.ended_at)
    counts = view.counts
    assert (counts.pending, counts.processing, counts.completed) == (group.pending, group.processing, group.completed)
    assert (counts.failed, counts.canceled) == (group.failed, group.canceled)
    assert (view.progress is None) == (group.done is None)
    new = NewGroupView.model_validate_json(render_group(group, task_ids))
    assert new.task_ids == [str(task_id) for task_id in task_ids]
    assert new.model_dump(exclude={"task_ids"}) == view.model_dump()


def test_the_examples_in_the_documentation_are_right() -> None:
    """Each is what its model takes and makes."""
    for body in NEW_GROUP_EXAMPLES.values():
        NewGroupBody.model_validate(body)
    for group in (GROUP_EXAMPLE, CANCELED_GROUP_EXAMPLE):
        assert json.loads(GroupView.model_validate_json(json.dumps(group)).model_dump_json()) == group
    made = NewGroupView.model_validate_json(json.dumps(NEW_GROUP_EXAMPLE))
    assert json.loads(made.model_dump_json()) == NEW_GROUP_EXAMPLE


def test_what_then_gets_is_a_group_result() -> None:
    """Put into any content, also an empty one; fields that a later version adds are passed over."""
    for content in ("{}", '{"a":"}"}'):
        merged = json.loads(sample_content(content))
        GroupResult.model_validate_json(json.dumps(merged.pop("group") | {"snoozed": 1}))
        assert merged == json.loads(content)


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "delay_seconds": (0, 1.5, 315_360_000, -1, 315_360_001, "1", True),
        "priority": ("high", "low", "urgent", 1),
        "max_attempts": (1, 1_000, 0, 1_001, 1.5, True),
        "timeout_seconds": (0.001, 315_360_000, 0, -1, 315_360_001),
        "concurrency_key": ("k", "ü 1", "", "a\0", "a\n", "k" * 255, "k" * 256),
        "concurrency_limit": (1, 10_000, 0, 10_001, True),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_child_takes_what_a_posted_task_takes(name: str, values: tuple[object, ...]) -> None:
    """The same options with the same limits."""
    for value in values:
        posted = {name: value} | ({"concurrency_key": "k"} if name == "concurrency_limit" else {})
        assert _takes_child(name, value) == _takes_body(posted), (name, value)


def _takes_child(name: str, value: object) -> bool:
    try:
        Child("simulate", 1, **{name: value})  # type: ignore[arg-type]
    except ValidationError:
        return False
    return True


def _takes_body(body: dict[str, object]) -> bool:
    try:
        TaskOptions.model_validate_json(json.dumps(body))
    except ValidationError:
        return False
    return True


def test_a_time_on_the_full_second_has_its_microseconds() -> None:
    """As all times of this service."""
    at = datetime(2024, 1, 1, tzinfo=UTC)
    group = Group(UUID(int=1), "continue", 1, None, at, None, None, 1, 0, 0, 0, 0, None, None, "[]", None, None, 1)
    assert json.loads(render_group(group))["created_at"] == "2024-01-01T00:00:00.000000Z"
