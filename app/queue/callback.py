"""Callbacks: the end of a task or a group is told by a task, made by the statement that ends it (docs/callbacks.md).

So what has ended and what tells it commit together, or not at all; and a delivery has what every task has: retries,
recovery, cancel, history. Its content is a snapshot, taken at that moment.
"""

from app.queue.read_group import MEMBERS

KIND = "callback"

# In the form of a UUID version 7 (RFC 9562): milliseconds, and 12 bits of their fraction (6.2, method 3), so that ids
# are in the order in which they were made, and at the right edge of the index. PostgreSQL makes them itself from 18 on.
UUID7 = """
(overlay(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 4096000)::bigint), 15, '0') PLACING '7' FROM 13 FOR 0)
    || right(gen_random_uuid()::text, 17))::uuid
"""


def _time(column: str) -> str:
    """As all times are told: RFC 3339 in UTC, with microseconds and Z."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


# A task as GET answers it, for which json_build_object takes JSON as the text that it is; a test holds it to
# TaskRenderer. What is left to the kind (max_attempts, timeout_seconds) is null: tables know no kinds.
_TASK = f"""
json_build_object('id', tasks.id, 'kind', tasks.kind, 'content', tasks.content, 'status', tasks.status,
    'priority', (ARRAY['high', 'normal', 'low'])[tasks.priority + 1], 'attempt', tasks.attempt,
    'max_attempts', tasks.max_attempts, 'timeout_seconds', tasks.timeout_seconds,
    'concurrency_key', tasks.concurrency_key, 'group_id', tasks.group_id, 'progress', tasks.progress,
    'result', tasks.result, 'error', tasks.error, 'history', coalesce(tasks.history, '[]'),
    'run_at', {_time("tasks.run_at")}, 'created_at', {_time("tasks.created_at")},
    'updated_at', {_time("tasks.updated_at")}, 'started_at', {_time("tasks.started_at")},
    'finished_at', {_time("tasks.finished_at")}, 'callback_url', tasks.callback_url, 'tenant', tasks.tenant,
    'version', tasks.version)
"""

# The same for a group and render_group, over the members as the statement that ends it sees them.
_GROUP = f"""
json_build_object('id', groups.id, 'on_failure', groups.on_failure, 'status', 'ended', 'total', groups.total,
    'counts', json_build_object('pending', members.pending, 'processing', members.processing,
        'completed', members.completed, 'failed', members.failed, 'canceled', members.canceled),
    'progress', CASE WHEN members.done IS NOT NULL THEN
        json_build_object('done', members.done, 'total', members.done_of) END,
    'errors', errors.first, 'then_task_id', groups.then_id, 'created_at', {_time("groups.created_at")},
    'canceled_at', {_time("groups.canceled_at")}, 'ended_at', {_time("groups.ended_at")},
    'callback_url', groups.callback_url, 'tenant', groups.tenant)
"""


def _message(url: str, message_id: str, kind: str, time: str, data: str) -> str:
    """The content of a delivery. `body` is last, so that it can be cut out and sent as the text that it is."""
    return f"""
json_build_object('url', {url}, 'webhook_id', 'msg_' || replace({message_id}, '-', ''),
    'body', json_build_object('type', {kind}, 'timestamp', {_time(time)}, 'data', {data}))
"""


# Of a statement that ends tasks, in its RETURNING: only tasks with a callback pay for it. The message's id is made of
# the task's and its version, so that each end has one, and the same for ever.
_MESSAGE = _message(
    "tasks.callback_url", "tasks.id || '_' || tasks.version", "'task.' || tasks.status", "tasks.finished_at", _TASK
)
_IS_TOLD = "tasks.callback_url IS NOT NULL AND tasks.status <> 'pending'"
DELIVERY = f"""
CASE WHEN {_IS_TOLD} THEN {UUID7} END AS delivery_id, CASE WHEN {_IS_TOLD} THEN {_MESSAGE} END AS delivery,
tasks.tenant AS told_tenant, tasks.traceparent AS told_trace
"""

# `ended`: the CTE with that RETURNING.
TELL = f"""
told AS (
    INSERT INTO tasks (id, kind, content, callback_of, tenant, traceparent)
    SELECT delivery_id, '{KIND}', delivery, id, told_tenant, told_trace FROM {{ended}} WHERE delivery_id IS NOT NULL
)
"""

# `ended`: a CTE with groups.* and, of those that have a callback, a delivery_id.
_GROUP_MESSAGE = _message("groups.callback_url", "groups.id::text", "'group.ended'", "groups.ended_at", _GROUP)
TELL_GROUPS = f"""
told AS (
    INSERT INTO tasks (id, kind, content, callback_of, tenant)
    SELECT groups.delivery_id, '{KIND}', {_GROUP_MESSAGE}, groups.id, groups.tenant
    FROM ended AS groups {MEMBERS}
    WHERE groups.delivery_id IS NOT NULL
)
"""
GROUP_DELIVERY = f"CASE WHEN groups.callback_url IS NOT NULL THEN {UUID7} END AS delivery_id"

# What stands at the beginning of a delivery's content, without parsing the rest, which may be megabytes: the URL, the
# message's id and its type. The longest URL has 2,000 characters, of which none is escaped.
HEAD = """
regexp_match(left(tasks.content::text, 2500),
    '^{"url" : "([^"]*)", "webhook_id" : "([^"]*)", "body" : {"type" : "([^"]*)"')
"""
