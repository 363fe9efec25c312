"""The payload of `callback`: a message, and where it goes. app/queue/callback.py writes it."""

from typing import Annotated, Self

from pydantic import Field

from app.handler_api.payload import Payload

_BODY = ', "body" : '  # in no string, where its quotes would be escaped


class Callback(Payload, kind="callback"):
    """A message. `body`: the bytes to send, which is JSON, exactly as it was written when the task had ended.

    It is cut out, and not parsed: the result in it may be nested more deeply than a parser of ours takes.
    """

    url: Annotated[str, Field(min_length=1)]
    webhook_id: Annotated[str, Field(min_length=1)]
    body: bytes = b""

    @classmethod
    def parse(cls, content: str) -> Self:
        """The payload in this JSON text, which has its members in this order. Raises InvalidPayloadError."""
        head, _, body = content.partition(_BODY)
        return super().parse(f"{head}}}").model_copy(update={"body": body[:-1].encode()})
