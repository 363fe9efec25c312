"""The API: uvicorn bench.naive.app:app."""

import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict
from redis.asyncio import Redis
from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from bench.naive.model import QUEUE, Base, Task, connect


class TaskIn(BaseModel):
    """What is posted."""

    content: Any


class TaskOut(BaseModel):
    """What is answered."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    content: Any
    status: str
    created_at: datetime
    updated_at: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the table, and hold the connections."""
    engine, app.state.sessions = connect()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with Redis.from_url(os.environ["REDIS_URL"], max_connections=1_000) as app.state.redis:
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session(request: Request) -> AsyncIterator[AsyncSession]:
    """One for each request."""
    async with request.app.state.sessions() as db:
        yield db


Db = Annotated[AsyncSession, Depends(session)]


@app.post("/task", status_code=201, response_model=TaskOut)
async def create(body: TaskIn, db: Db, request: Request) -> Task:
    """One INSERT, one commit, one LPUSH."""
    task = Task(content=body.content)
    db.add(task)
    await db.commit()
    await request.app.state.redis.lpush(QUEUE, str(task.id))
    return task


@app.get("/task/{task_id}", response_model=TaskOut)
async def read(task_id: uuid.UUID, db: Db) -> Task:
    """One SELECT."""
    task = await db.get(Task, task_id)
    if task is None:
        raise HTTPException(404, "no such task")
    return task


@app.patch("/task/{task_id}/cancel", response_model=TaskOut)
async def cancel(task_id: uuid.UUID, db: Db) -> Task:
    """An UPDATE of what has not ended; its handler looks from time to time."""
    moved = await db.scalar(
        update(Task)
        .where(Task.id == task_id, Task.status.in_(("pending", "processing")))
        .values(status="canceled", updated_at=func.clock_timestamp())
        .returning(Task.id)
    )
    await db.commit()
    task = await db.get(Task, task_id)
    if task is None:
        raise HTTPException(404, "no such task")
    if moved is None:
        raise HTTPException(409, f"the task is {task.status}")
    return task
