"""From the children that a handler asks for to new tasks: checked, and with ids that are the same in each attempt."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from pydantic_core import PydanticSerializationError, from_json, to_json

from app.core.errors import InvalidPayloadError, UnknownKindError
from app.core.group import MOST_MEMBERS, NewGroup, OnFailure
from app.core.storable import unstorable
from app.core.task import Claim, NewTask, Priority
from app.handler_api.spawn import Child
from app.queue.spawn import derived_id
from app.queue.then import sample_content
from app.utils.in_words import in_words
from app.utils.json_pointer import json_pointer

_AT_ONCE = 500  # children checked before other tasks get their turn

Check = Callable[[str, str], None]  # of a kind and JSON text; raises UnknownKindError and InvalidPayloadError


async def new_tasks(claim: Claim, key: str, children: Sequence[Child], check: Check) -> list[NewTask]:
    """The tasks that `spawn` is to create. Raises ValueError where there are too many, and as `check`."""
    if len(children) > MOST_MEMBERS:
        raise ValueError(f"at most {MOST_MEMBERS:,} children by one key, not {len(children):,}")
    return await _all(claim, key, children, check, "child", None)


async def new_group(
    claim: Claim, key: str, children: Sequence[Child], on_failure: OnFailure, then: Child | None, check: Check
) -> NewGroup:
    """The group that `spawn_group` is to create. Raises ValueError where it has none or too many, and as `check`."""
    if not 1 <= len(children) <= MOST_MEMBERS:
        raise ValueError(f"a group has 1 to {MOST_MEMBERS:,} tasks, not {len(children):,}")
    if on_failure not in {"cancel_rest", "continue"}:
        raise ValueError("on_failure is cancel_rest or continue")
    group_id = derived_id(claim.id, key, "group")
    members = await _all(claim, key, children, check, "member", group_id)
    started = None if then is None else _then(claim, key, then, check)
    return NewGroup(group_id, members, on_failure, started, tenant=claim.tenant)


async def _all(
    claim: Claim, key: str, children: Sequence[Child], check: Check, part: str, group_id: UUID | None
) -> list[NewTask]:
    tasks = []
    for number, child in enumerate(children):
        content = _content(child, f"/children/{number}")
        _check(check, child.kind, content, f"/children/{number}")
        tasks.append(_task(claim, derived_id(claim.id, key, f"{part} {number}"), child, content, group_id))
        if number % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
    return tasks


def _then(claim: Claim, key: str, then: Child, check: Check) -> NewTask:
    content = _content(then, "/then")
    if not content.startswith("{"):
        raise InvalidPayloadError([("/then/content", "is no object, so that `group` can't be put in")])
    if "group" in from_json(content):
        raise InvalidPayloadError([("/then/content/group", "is put in when the group has ended")])
    _check(check, then.kind, sample_content(content), "/then")
    return _task(claim, derived_id(claim.id, key, "then"), then, content, None)


def _content(child: Child, place: str) -> str:
    """JSON text that comes back from the table as it is. Raises InvalidPayloadError."""
    try:
        text = to_json(child.content).decode()
        problems = unstorable({"content": from_json(text)})
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise InvalidPayloadError([(f"{place}/content", f"is no JSON: {in_words(error)}")]) from None
    for path, detail in problems:
        raise InvalidPayloadError([(place + json_pointer(path), detail)])
    return text


def _check(check: Check, kind: str, content: str, place: str) -> None:
    try:
        check(kind, content)
    except UnknownKindError as error:
        raise UnknownKindError(f"{place}/kind: {error}") from None
    except InvalidPayloadError as error:
        problems = [(f"{place}/content{pointer}", detail) for pointer, detail in error.problems]
        raise InvalidPayloadError(problems) from None


def _task(claim: Claim, task_id: UUID, child: Child, content: str, group_id: UUID | None) -> NewTask:
    return NewTask(
        task_id,
        child.kind,
        content,
        priority=Priority[child.priority.upper()],
        delay=timedelta(seconds=child.delay_seconds) if child.delay_seconds else None,
        max_attempts=child.max_attempts,
        timeout_seconds=child.timeout_seconds,
        concurrency_key=child.concurrency_key,
        concurrency_limit=child.concurrency_limit,
        group_id=group_id,
        traceparent=claim.traceparent,
        tenant=claim.tenant,
    )
