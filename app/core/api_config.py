"""The settings of what the API offers beside the queue itself."""

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from app.core.api_keys import DEFAULT_FILE
from app.core.retention import Retention


class ApiSettings(BaseSettings):
    """A part of core/config.py's Settings."""

    idempotency_hours: float = Field(
        default=24, gt=0, le=8_760, allow_inf_nan=False, description="How long an Idempotency-Key is remembered."
    )
    keys_file: str = Field(default=DEFAULT_FILE, description="Hashes of the API keys; without any, none is asked.")
    rate_limit: int = Field(
        default=0, ge=0, le=100_000_000, description="Requests a minute for each API key; 0 is no limit."
    )
    max_pending: int = Field(
        default=0, ge=0, le=1_000_000_000, description="Pending tasks of a queue above which no more are taken: 429."
    )
    max_streams: int = Field(
        default=2_000, ge=1, le=100_000, description="Open event streams and long polls for each API key and process."
    )
    retention_days: str = Field(
        default="completed=30, failed=90, canceled=30",
        description="How long ended tasks are kept, by status, or one number for all; 0 is for ever.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Port on which consumers answer `GET /metrics`, where they run without an API; 0 is none.",
    )

    @field_validator("retention_days")
    @classmethod
    def _are_days(cls, days: str) -> str:
        Retention.parse(days)
        return days
