"""The JSON that is written by hand is the JSON of its model."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.new_task_schemas import NEW_TASK_EXAMPLES, NewTaskBody
from app.api.task_schemas import CANCELED_TASK_EXAMPLE, TASK_EXAMPLE, ErrorView, ProgressView, TaskRenderer, TaskView
from app.core.task import ErrorCode, Priority, Task, TaskStatus
from app.handlers import HANDLERS, Catalog

CATALOG = Catalog({handler.kind: handler for handler in HANDLERS}, {})
render = TaskRenderer(CATALOG)

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
JSON = st.tuples(CONTENT, st.booleans()).map(lambda pair: json.dumps(pair[0], ensure_ascii=pair[1]))
SECONDS = st.floats(min_value=1e-3, max_value=1e9)
ERRORS = st.builds(
    ErrorView, code=st.sampled_from(ErrorCode), message=st.text(), attempt=st.integers(0, 10), at=TIMES
).map(lambda error: error.model_dump_json())
PROGRESS = st.builds(ProgressView, done=SECONDS, total=st.none() | SECONDS, message=st.none() | st.text()).map(
    lambda progress: progress.model_dump_json()
)
TASKS = st.builds(
    Task,
    id=st.uuids(),
    kind=st.from_regex(r"\A[a-z_][a-z0-9_]{0,20}\Z") | st.sampled_from(CATALOG.kinds),
    content=JSON,
    status=st.sampled_from(TaskStatus),
    priority=st.sampled_from(Priority),
    attempt=st.integers(0, 1000),
    max_attempts=st.none() | st.integers(1, 1000),
    timeout_seconds=st.none() | SECONDS,
    concurrency_key=st.none() | st.text(min_size=1),
    group_id=st.none() | st.uuids(),
    progress=st.none() | PROGRESS,
    result=st.none() | JSON,
    error=st.none() | ERRORS,
    history=st.none() | st.lists(ERRORS, max_size=3).map(lambda errors: f"[{','.join(errors)}]"),
    run_at=TIMES,
    created_at=TIMES,
    updated_at=st.none() | TIMES,
    started_at=st.none() | TIMES,
    finished_at=st.none() | TIMES,
    callback_url=st.none() | st.text(min_size=1),
    tenant=st.none() | st.text(min_size=1),
    version=st.integers(1, 2**31 - 1),
)


def _view(task: Task) -> TaskView:
    handler = CATALOG.handlers.get(task.kind)
    return TaskView(
        id=str(task.id),
        kind=task.kind,
        content=json.loads(task.content),
        status=TaskStatus(task.status),
        priority=("high", "normal", "low")[task.priority],
        attempt=task.attempt,
        max_attempts=task.max_attempts or (handler and handler.max_attempts),
        timeout_seconds=task.timeout_seconds or (handler and handler.timeout_seconds),
        concurrency_key=task.concurrency_key,
        group_id=None if task.group_id is None else str(task.group_id),
        progress=None if task.progress is None else ProgressView.model_validate_json(task.progress),
        result=None if task.result is None else json.loads(task.result),
        error=None if task.error is None else ErrorView.model_validate_json(task.error),
        history=[] if task.history is None else json.loads(task.history),
        run_at=task.run_at,
        created_at=task.created_at,
        updated_at=task.updated_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        callback_url=task.callback_url,
        tenant=task.tenant,
        version=task.version,
    )


@given(TASKS)
@settings(max_examples=300, derandomize=True)
def test_render_is_the_json_of_task_view(task: Task) -> None:
    """The same fields in the same order with the same values, for any task."""
    rendered, view = render(task), _view(task)
    assert TaskView.model_validate_json(rendered) == view
    assert list(json.loads(rendered)) == list(json.loads(view.model_dump_json()))


@given(TASKS)
@settings(max_examples=100, derandomize=True)
def test_times_are_rfc_3339_in_utc_with_microseconds(task: Task) -> None:
    """Also on the full second, where Python leaves the fraction out."""
    for at in (task, replace(task, created_at=datetime(2024, 1, 1, tzinfo=UTC), updated_at=None)):
        rendered = json.loads(render(at))
        assert TIME.fullmatch(rendered["created_at"])
        assert datetime.fromisoformat(rendered["created_at"]) == at.created_at
        assert (rendered["updated_at"] is None) == (at.updated_at is None)
        assert rendered["updated_at"] is None or TIME.fullmatch(rendered["updated_at"])


def test_the_kind_fills_in_what_the_task_leaves_open() -> None:
    """Clients see the limits that count: the task's own, else its kind's."""
    (handler,) = (h for h in HANDLERS if h.kind == "simulate")
    task = Task(**{**_ANY, "kind": "simulate", "max_attempts": None})
    assert json.loads(render(task))["max_attempts"] == handler.max_attempts
    assert json.loads(render(replace(task, max_attempts=1)))["max_attempts"] == 1
    assert json.loads(render(replace(task, kind="gone")))["max_attempts"] is None


_NOW = datetime(2024, 1, 1, tzinfo=UTC)
_ANY: dict[str, Any] = dict.fromkeys(Task.__dataclass_fields__) | {
    "id": UUID(int=1),
    "content": "1",
    "status": "pending",
    "priority": Priority.NORMAL,
    "attempt": 0,
    "run_at": _NOW,
    "created_at": _NOW,
    "version": 1,
}


def test_the_examples_in_the_documentation_are_right() -> None:
    """Each is what its model takes and makes."""
    for body in NEW_TASK_EXAMPLES.values():
        NewTaskBody.model_validate(body)
    for task in (TASK_EXAMPLE, CANCELED_TASK_EXAMPLE):
        assert json.loads(TaskView.model_validate_json(json.dumps(task)).model_dump_json()) == task
