"""Groups are made once, and their `then` as it was said."""

import json
from dataclasses import replace

from uuid_utils.compat import uuid7

from app.core.group import NewGroup
from app.core.task import NewTask
from app.db.engine import Database
from app.queue.create_group import GroupCreator
from app.queue.follow_up import FollowUp
from app.queue.wakeup import Wakeup
from tests.conftest import quick_settings
from tests.integration.groups.conftest import Bench
from tests.support.proxy import Proxy
from tests.support.types import Connection
from tests.support.waiting import EventLog


async def test_a_group_whose_answer_is_lost_is_made_once(
    database_proxy: Proxy, redis_url: str, events: EventLog, sql: Connection
) -> None:
    """The COMMIT's answer is cut: the statement is sent again, and finds what it made."""
    database = Database(quick_settings(database_proxy.url, redis_url).database_url, 2, 2)
    wakeup = Wakeup(redis_url, events)
    group_id = uuid7()
    new = NewGroup(group_id, [NewTask(uuid7(), "simulate", '"CUT"', group_id=group_id) for _ in range(10)])
    database_proxy.cut_reply_to(lambda data: b'"CUT"' in data)
    group, _ = await GroupCreator(database, wakeup, FollowUp(database, wakeup, events), events).create(new)
    assert database_proxy.replies_cut == 1
    assert (group.total, group.pending) == (10, 10)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 10
    assert await sql.fetchval("SELECT count(*) FROM groups") == 1
    await wakeup.close()
    await database.close()


async def test_then_has_its_options(bench: Bench, sql: Connection) -> None:
    """What was said of it in the beginning holds for the task that is started; a delay counts from the end."""
    said = NewTask(uuid7(), "simulate", '{"a":"\\"}"}', traceparent="00-1-2-03", concurrency_key='k "1"')
    said = replace(said, max_attempts=3, timeout_seconds=1.5, concurrency_limit=2)
    group = NewGroup(uuid7(), [], "continue", said)
    group = replace(group, members=[NewTask(uuid7(), "simulate", "1", group_id=group.id)])
    await GroupCreator(bench.database, bench.wakeup, bench.follow_up, bench.events).create(group)
    await bench.complete(await bench.claim(group), bench.follow_up)
    row = dict((await sql.fetch("SELECT * FROM tasks WHERE id = $1", said.id))[0])
    for name in ("kind", "traceparent", "concurrency_key", "max_attempts", "timeout_seconds", "concurrency_limit"):
        assert row[name] == getattr(said, name)
    assert json.loads(row["content"])["a"] == '"}'
    assert row["group_id"] is None
    assert not row["is_blocked"]  # admitted right away: nobody has its key
