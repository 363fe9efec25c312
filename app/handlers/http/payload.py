"""The payload of `http`: a request to make."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, to_json

from app.handler_api.group import GroupResult
from app.handler_api.payload import Payload
from app.handler_api.url import check_url

LARGEST_HEADERS = 16_384  # characters of names and values

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_PRINTABLE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")  # nothing in it ends its line

_OURS = frozenset({"idempotency-key", "traceparent"})
# They are about the connection or the form of the body, which are the client's (RFC 9110, 7.6.1).
_CONNECTION = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _check_header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise _wrong("header", "is no name of a header")
    lower = name.lower()
    if lower in _OURS or lower.startswith("webhook-"):
        raise _wrong("header", "is a header that Taskmill sets")
    if lower in _CONNECTION or lower.startswith("proxy-"):
        raise _wrong("header", "is a header of the connection")
    return name


def _check_header_value(value: str) -> str:
    if not _PRINTABLE.fullmatch(value):
        raise _wrong("header", "is not printable ASCII without white space around it")
    return value


def _check_headers(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise _wrong("headers", "name one header twice: case does not tell them apart")
    if sum(len(name) + len(value) for name, value in headers.items()) > LARGEST_HEADERS:
        raise _wrong("headers", f"are more than {LARGEST_HEADERS} characters together")
    return headers


def _wrong(what: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(f"http_{what}", message)


HeaderName = Annotated[str, Field(max_length=128), AfterValidator(_check_header_name)]
HeaderValue = Annotated[str, Field(max_length=8_192), AfterValidator(_check_header_value)]


class HttpCall(Payload, kind="http"):
    """A request, as `{"url": "https://example.com/orders", "body": {"order": 17}}`.

    `body` is sent as JSON; a string with a Content-Type in `headers` is sent as it is, in UTF-8. Left out, nothing is
    sent, and null is sent as `null`. As the `then` of a group, where `body` is left out, `{"group": ...}` is sent.
    """

    url: Annotated[str, Field(min_length=1, max_length=2_048), AfterValidator(check_url)]
    method: Literal["POST", "GET", "PUT", "PATCH", "DELETE", "HEAD"] = "POST"
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=64), AfterValidator(_check_headers)] = Field(
        default_factory=dict
    )
    body: Any = None
    group: GroupResult | None = None

    @field_validator("body")
    @classmethod
    def _method_has_body(cls, body: Any, info: ValidationInfo) -> Any:
        method = info.data.get("method")
        if method in {"GET", "HEAD"}:
            raise _wrong("body", f"is nothing that a {method} request has")
        return body

    @property
    def content_type(self) -> str | None:
        """As `headers` say, else JSON where there is a body."""
        for name, value in self.headers.items():
            if name.lower() == "content-type":
                return value
        return "application/json" if self._has_body else None

    def encode_body(self) -> bytes | None:
        """The bytes to send; None where there are none. The same at each attempt."""
        if "body" not in self.model_fields_set:
            return to_json({"group": self.group}) if self._has_body else None
        is_as_it_is = isinstance(self.body, str) and any(name.lower() == "content-type" for name in self.headers)
        return self.body.encode() if is_as_it_is else to_json(self.body)

    @property
    def _has_body(self) -> bool:
        return "body" in self.model_fields_set or (self.group is not None and self.method not in {"GET", "HEAD"})
