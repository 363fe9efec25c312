"""The task that a group starts when all its members have ended: how it is kept until then, and what it is told."""

import json

from app.core.task import NewTask

# In the group's row: what was said of the task besides its id, kind and content. Of the end's time, not of now.
_RECORD = """
priority smallint, run_at timestamptz, delay_seconds float8, max_attempts int, timeout_seconds float8,
concurrency_key text, concurrency_limit int, traceparent text, callback_url text
"""

# The content is the text of a JSON object as to_json writes it, kept as it was sent (docs/decisions/0005): what a group
# came to is put in before its last bracket. A keyed task waits until it is admitted: queue/admit.py.
START = f"""
INSERT INTO tasks (id, kind, content, priority, run_at, max_attempts, timeout_seconds, concurrency_key,
    concurrency_limit, is_blocked, traceparent, tenant, callback_url)
SELECT then_id, then_kind,
    (left(then_content::text, -1) || CASE then_content::text WHEN '{{}}' THEN '' ELSE ',' END || format(
        '"group":{{"id":"%s","total":%s,"completed":%s,"failed":%s,"canceled":%s}}}}',
        counted.id, total, completed, failed, canceled))::json,
    said.priority, coalesce(said.run_at, now() + make_interval(secs => said.delay_seconds)), said.max_attempts,
    said.timeout_seconds, said.concurrency_key, said.concurrency_limit, said.concurrency_key IS NOT NULL,
    said.traceparent, counted.tenant, said.callback_url
FROM counted CROSS JOIN LATERAL jsonb_to_record(then_options) AS said ({_RECORD})
WHERE then_id IS NOT NULL AND canceled_at IS NULL
ON CONFLICT (id) DO NOTHING
RETURNING id, kind, priority, concurrency_key, run_at <= now() AS is_due
"""


def sample_content(content: str) -> str:
    """What the handler will get, with made-up counts: to check whether the kind takes it."""
    group = {"id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21", "total": 1, "completed": 1, "failed": 0, "canceled": 0}
    return f'{content[:-1]}{"" if content == "{}" else ","}"group":{json.dumps(group)}}}'


def then_columns(then: NewTask | None) -> tuple[object, ...]:
    """then_kind, then_content, then_options and then_id."""
    if then is None:
        return None, None, None, None
    options = {
        "priority": then.priority,
        "run_at": None if then.run_at is None else then.run_at.isoformat(),
        "delay_seconds": 0 if then.delay is None else then.delay.total_seconds(),
        "max_attempts": then.max_attempts,
        "timeout_seconds": then.timeout_seconds,
        "concurrency_key": then.concurrency_key,
        "concurrency_limit": then.concurrency_limit,
        "traceparent": then.traceparent,
        "callback_url": then.callback_url,
    }
    return then.kind, then.content, json.dumps(options), then.id
