"""The payload of `simulate`."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from app.handler_api.payload import Payload


class Simulate(Payload, kind="simulate"):
    """Any content. An object may say how long to sleep, as `{"simulate_seconds": 0.5}`."""

    model_config = ConfigDict(extra="ignore")

    simulate_seconds: Annotated[float | None, Field(ge=0, le=86_400)] = None

    @model_validator(mode="before")
    @classmethod
    def _take_any_content(cls, content: Any) -> Any:
        return content if isinstance(content, dict) else {}
