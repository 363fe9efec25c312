"""The task as an ORM class, and the connections of a process, made from DATABASE_URL and REDIS_URL."""

import os
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

QUEUE = "tasks"


class Base(DeclarativeBase):
    """Tables."""


class Task(Base):
    """A row for each."""

    __tablename__ = "tasks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    status: Mapped[str] = mapped_column(String(16), default="pending", index=True)
    content: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def connect() -> tuple[AsyncEngine, async_sessionmaker[AsyncSession]]:
    """A pool of 20 connections, and a maker of sessions on it."""
    url = "postgresql+asyncpg://" + os.environ["DATABASE_URL"].partition("://")[2]
    engine = create_async_engine(url, pool_size=20, max_overflow=0)
    return engine, async_sessionmaker(engine, expire_on_commit=False)
