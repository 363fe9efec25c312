"""What a running handler knows and may use."""

from dataclasses import dataclass
from typing import Generic, Self, TypeVar
from uuid import UUID

from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.config import load


class Options(BaseSettings):
    """Settings of one kind, read from the environment when a process starts. Subclass it with fields of your own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    @classmethod
    def load(cls) -> Self:
        """These options from the environment. Raises SettingsError."""
        return load(cls)


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


@dataclass(frozen=True, slots=True)
class TaskContext(Generic[OptionsT_co]):
    """One run of one task.

    `id` stays the same over all runs of a task, so it serves as an idempotency key; `attempt` counts them from 1.
    """

    id: UUID
    attempt: int
    options: OptionsT_co
