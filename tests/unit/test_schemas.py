"""The JSON that is written by hand is the JSON of its model."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.schemas import CANCELED_TASK_EXAMPLE, NEW_TASK_EXAMPLES, TASK_EXAMPLE, NewTaskBody, TaskView, render
from app.core.task import Task, TaskStatus

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

CONTENT: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=10,
)
TIMES = st.datetimes(timezones=st.just(UTC))
TASKS = st.builds(
    Task,
    id=st.uuids(),
    kind=st.from_regex(r"\A[a-z_][a-z0-9_]{0,20}\Z"),
    content=st.tuples(CONTENT, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1])),
    status=st.sampled_from(TaskStatus),
    created_at=TIMES,
    updated_at=st.none() | TIMES,
)


@given(TASKS)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_render_is_the_json_of_task_view(task: Task) -> None:
    """The same fields in the same order with the same values, for any task."""
    rendered = render(task)
    view = TaskView(
        id=str(task.id),
        kind=task.kind,
        content=json.loads(task.content),
        status=TaskStatus(task.status),
        created_at=task.created_at,
        updated_at=task.updated_at,
    )
    assert TaskView.model_validate_json(rendered) == view
    assert list(json.loads(rendered)) == list(json.loads(view.model_dump_json()))


@given(TASKS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_times_are_rfc_3339_in_utc_with_microseconds(task: Task) -> None:
    """Also on the full second, where Python leaves the fraction out."""
    for at in (task, Task(task.id, task.kind, task.content, task.status, datetime(2024, 1, 1, tzinfo=UTC), None)):
        rendered = json.loads(render(at))
        assert TIME.fullmatch(rendered["created_at"])
        assert datetime.fromisoformat(rendered["created_at"]) == at.created_at
        assert (rendered["updated_at"] is None) == (at.updated_at is None)
        assert rendered["updated_at"] is None or TIME.fullmatch(rendered["updated_at"])


def test_the_examples_in_the_documentation_are_right() -> None:
    """Each is what its model takes and makes."""
    for body in NEW_TASK_EXAMPLES.values():
        NewTaskBody.model_validate(body)
    for task in (TASK_EXAMPLE, CANCELED_TASK_EXAMPLE):
        assert json.loads(TaskView.model_validate_json(json.dumps(task)).model_dump_json()) == task
