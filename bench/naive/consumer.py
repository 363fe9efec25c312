"""The consumer, python -m bench.naive.consumer: WORKERS (20) loops in one process, each with one task at a time."""

import asyncio
import os
import uuid
from collections.abc import Awaitable
from typing import cast

import uvloop
from redis.asyncio import Redis
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from bench.naive.model import QUEUE, Task, connect

_LOOK = 0.05  # seconds between two looks whether a running task is canceled


async def main() -> None:
    """Work until it is killed."""
    engine, sessions = connect()
    workers = int(os.environ.get("WORKERS", "20"))
    # redis-py's own limits, 100 connections and 5 s without an answer, would end some of the waits.
    redis = Redis.from_url(os.environ["REDIS_URL"], socket_timeout=60, max_connections=workers + 1)
    async with redis, asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_work(redis, sessions))
    await engine.dispose()


async def _work(redis: Redis, sessions: async_sessionmaker[AsyncSession]) -> None:
    while True:
        popped = await cast("Awaitable[list[bytes] | None]", redis.brpop([QUEUE], timeout=5))
        if popped is None:
            continue
        task_id = uuid.UUID(popped[1].decode())
        async with sessions() as db:
            task = await db.get(Task, task_id)
        if task is not None and await _move(sessions, task_id, "pending", "processing"):
            await _handle(sessions, task)
            await _move(sessions, task_id, "processing", "completed")


async def _handle(sessions: async_sessionmaker[AsyncSession], task: Task) -> None:
    """Sleep for as many seconds as {"sleep": seconds} says, unless it is canceled; else do nothing."""
    left = float(task.content.get("sleep", 0)) if isinstance(task.content, dict) else 0.0
    while left > 0:
        await asyncio.sleep(min(left, _LOOK))
        left -= _LOOK
        async with sessions() as db:
            found = await db.get(Task, task.id)
            if found is None or found.status != "processing":
                return


async def _move(sessions: async_sessionmaker[AsyncSession], task_id: uuid.UUID, old: str, new: str) -> bool:
    async with sessions() as db:
        moved = await db.scalar(
            update(Task)
            .where(Task.id == task_id, Task.status == old)
            .values(status=new, updated_at=func.clock_timestamp())
            .returning(Task.id)
        )
        await db.commit()
        return moved is not None


if __name__ == "__main__":
    uvloop.run(main())
