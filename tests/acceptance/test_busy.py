"""PostgreSQL busy with expensive calls: the others do not wait for them."""

import asyncio

from tests.support.processes import service
from tests.support.types import Connection
from tests.support.waiting import until

_HELD = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'consumers'::regclass"


async def test_creates_do_not_wait_for_expensive_calls(database_url: str, redis_url: str, sql: Connection) -> None:
    """More than there are connections stand still; a create and /readyz are answered before any of them."""
    async with service(database_url, redis_url, database_pool_size=2) as taskmill:
        await taskmill.create()
        async with sql.transaction():
            await sql.execute("LOCK TABLE consumers")  # which the overview of queues reads
            expensive = [asyncio.create_task(taskmill.client.get("/queue")) for _ in range(10)]

            async def all_wait() -> bool:
                return bool(await sql.fetchval(_HELD) >= 1)

            await until(all_wait)
            created, ready = await asyncio.gather(
                taskmill.client.post("/task", json={"content": "x"}), taskmill.client.get("/readyz")
            )
            assert (created.status_code, ready.status_code) == (201, 200)
            assert not any(call.done() for call in expensive)
        await asyncio.gather(*expensive)


async def test_creates_do_not_wait_for_a_group_that_is_canceled(
    database_url: str, redis_url: str, sql: Connection
) -> None:
    """A member's row is held by somebody, and the cancel waits for it: on a connection of groups."""
    async with service(database_url, redis_url, database_pool_size=2) as taskmill:
        group = (await taskmill.client.post("/group", json={"tasks": [{"content": 1}]})).json()
        async with sql.transaction():
            await sql.execute("SELECT FROM tasks FOR UPDATE")
            canceling = asyncio.create_task(taskmill.client.patch(f"/group/{group['id']}/cancel"))

            async def waits() -> bool:
                return bool(await sql.fetch("SELECT FROM pg_locks WHERE NOT granted"))

            await until(waits)
            await taskmill.create()
            assert not canceling.done()
        assert (await canceling).json()["counts"]["canceled"] == 1


async def test_all_connections_in_use_are_429(database_url: str, redis_url: str, sql: Connection) -> None:
    """Others were answered meanwhile, so it is not said that PostgreSQL does not answer."""
    await sql.execute("""
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.2); RETURN NULL; END $$;
        CREATE TRIGGER slow BEFORE INSERT ON tasks EXECUTE FUNCTION slow()
    """)
    async with service(database_url, redis_url, database_pool_size=2) as taskmill:
        answers = await asyncio.gather(
            *(taskmill.client.post("/task/batch", json=[{"content": n}, {"content": n}]) for n in range(4))
        )
    assert sorted(answer.status_code for answer in answers) == [201, 201, 429, 429]
    for answer in answers:
        if answer.status_code == 429:
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["detail"] == "All connections to PostgreSQL are in use; try again after Retry-After."
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 4
