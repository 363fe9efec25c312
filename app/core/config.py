"""Every setting, its default, and the rules between them.

The README's table of settings is checked against this file by a test.
"""

from typing import Annotated, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.api_config import ApiSettings
from app.core.errors import SettingsError
from app.utils.public_address import Reach

# What a consumer may need after its drain: to stop handlers, to give back their tasks, to close connections.
STOP_SECONDS = 8

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class DatabaseSettings(BaseSettings):
    """All that a migration needs."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: str = Field(description="PostgreSQL, as `postgresql://user:password@host:port/name`.")

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in {"postgresql", "postgres", "postgresql+asyncpg"}:
            raise ValueError("must look like postgresql://user:password@host:5432/name")
        _require_port(url)
        return f"postgresql+asyncpg://{rest}".replace("sslmode=", "ssl=")  # libpq's word, and asyncpg's


class Settings(ApiSettings, DatabaseSettings):
    """Read from the environment, where names are in capitals; unknown variables are ignored."""

    redis_url: str = Field(description="Redis or Valkey (7.0 or newer), as `redis://host:port/number`.")
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=1, le=65_535, description="Port the API listens on.")
    api_processes: int = Field(default=1, ge=0, le=256, description="API processes under Supervisor.")
    consumer_processes: int = Field(default=1, ge=0, le=256, description="Consumer processes under Supervisor.")
    consumer_concurrency: int = Field(
        default=100, ge=1, le=100_000, description="Tasks that one consumer process runs at once."
    )
    consumer_queues: str = Field(
        default="*", description="The queues a consumer serves, separated by commas; `*` is all of them."
    )
    child_processes: int = Field(
        default=2,
        ge=1,
        le=1_000,
        description="Isolated tasks that one consumer runs at once, each in a child process; "
        "and suspects, each in a quarantine process.",
    )
    child_max_tasks: int = Field(
        default=1_000, ge=1, description="After so many tasks a child process is replaced by a fresh one."
    )
    child_memory_mb: int = Field(
        default=512, ge=32, description="A child process that holds more than this after a task is replaced."
    )
    cancel_grace_seconds: float = Field(
        default=2,
        ge=0.5,
        le=3_600,
        description="How long a handler that was told to stop may take before it is killed.",
    )
    loop_blocked_seconds: Seconds = Field(
        default=60, description="A consumer whose event loop a handler has blocked for this long is ended."
    )
    handler_modules: str = Field(
        default="", description="Importable modules with handlers of your own, separated by commas."
    )
    schedules_file: str = Field(
        default="config/schedules.toml", description="Schedules that are part of the configuration."
    )
    http_allow_private: str = Field(
        default="",
        description="Networks, as `10.0.0.0/8`, separated by commas, that HTTP calls may reach besides public ones.",
    )
    default_kind: str = Field(default="simulate", description="Kind of a task that names none.")
    body_limit_bytes: int = Field(
        default=1_048_576, ge=1_024, le=268_435_456, description="Largest request body; above it the answer is 413."
    )
    poll_seconds: Seconds = Field(default=1, description="How often a consumer asks PostgreSQL for due tasks.")
    beat_seconds: Seconds = Field(default=2, description="How often a consumer renews its lease.")
    lease_seconds: Seconds = Field(
        default=10, description="A consumer silent for this long is dead, and its tasks run elsewhere."
    )
    max_lost: int = Field(
        default=3,
        ge=1,
        le=100,
        description="A task whose consumer died this often is `failed`. "
        "Below 3, tasks that ran beside a crashing one fail with it.",
    )
    drain_seconds: float = Field(
        default=20, ge=0, le=86_400, description="After SIGTERM, how long a consumer lets running tasks finish."
    )
    stop_wait_seconds: int = Field(
        default=30, ge=1, le=90_000, description="How long Supervisor waits after SIGTERM before SIGKILL."
    )
    database_pool_size: int = Field(
        default=5,
        ge=2,
        le=1_000,
        description="PostgreSQL connections in a pool, at least 2. An API process has one pool, half of which, rounded "
        "down, is for batches, groups, lists and queues; a consumer has two, and some more (docs/operating.md).",
    )
    log_format: Literal["json", "text"] = Field(default="json", description="`json` or `text`.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="`debug` also logs each step of each task."
    )

    @property
    def queues(self) -> frozenset[str] | None:
        """CONSUMER_QUEUES as a set; None is all of them."""
        names = frozenset(filter(None, (name.strip() for name in self.consumer_queues.split(","))))
        return None if "*" in names or not names else names

    @property
    def connections(self) -> int:
        """The most that its processes together open to PostgreSQL: the table in docs/operating.md."""
        consumer = 2 * self.database_pool_size + 1 + 11 * self.child_processes
        return self.api_processes * self.database_pool_size + self.consumer_processes * consumer

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must look like redis://host:6379/0")
        _require_port(url)
        return url

    @field_validator("http_allow_private")
    @classmethod
    def _are_networks(cls, networks: str) -> str:
        Reach.parse(networks)
        return networks

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.lease_seconds < 3 * self.beat_seconds:
            raise ValueError(
                f"LEASE_SECONDS ({self.lease_seconds:g}) must be at least 3 x BEAT_SECONDS ({self.beat_seconds:g}), "
                "or one late beat costs a consumer its tasks"
            )
        if self.stop_wait_seconds < self.drain_seconds + STOP_SECONDS:
            raise ValueError(
                f"STOP_WAIT_SECONDS ({self.stop_wait_seconds}) must be at least DRAIN_SECONDS "
                f"({self.drain_seconds:g}) + {STOP_SECONDS}, or Supervisor kills a consumer that is still stopping"
            )
        if self.metrics_port == self.port and self.api_processes:
            raise ValueError(
                f"METRICS_PORT and PORT are both {self.port}; with an API its own /metrics has all numbers"
            )
        return self


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings: type[SettingsT]) -> SettingsT:
    """These settings from the environment. Raises SettingsError, one line that names each wrong variable."""
    try:
        return settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(dict(e)) for e in error.errors())) from None


def _require_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError("the port must be a number from 0 to 65535") from None


def _sentence(error: dict[str, object]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    location = error["loc"]
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    if error["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {message}" if name else message
