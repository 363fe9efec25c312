"""The payload of `http`: a request to make."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, to_json
from yarl import URL

from app.handler_api.group import GroupResult
from app.handler_api.payload import Payload

LARGEST_HEADERS = 16_384  # characters of names and values

# All characters of a URI (RFC 3986). What is sent is what was posted, byte for byte, as signed URLs need it.
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253
# What a resolver takes for an IPv4 address, in forms that nobody means: 2130706433, 127.1, 0x7f.1.
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")
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


def _check_url(text: str) -> str:
    if not _URI.fullmatch(text):
        raise _wrong("url", "has characters that no URL has: percent-encode them, and write the host as xn--...")
    try:
        url = URL(text, encoded=True)
        host, port = url.raw_host or "", url.port
    except ValueError:
        raise _wrong("url", "is no URL") from None
    if url.scheme not in {"http", "https"} or not text.lower().startswith(f"{url.scheme}://"):
        raise _wrong("url", "begins with neither http:// nor https://")
    if "@" in url.raw_authority:
        raise _wrong("url", "has credentials in it: send them as a header, Authorization")
    if not _is_host(host) or ("[" in url.raw_authority and ":" not in host):
        raise _wrong("url", "has no valid host")
    if not port:
        raise _wrong("url", "has no valid port")
    return text


def _is_host(host: str) -> bool:
    if ":" in host:
        return _parses(IPv6Address, host) and "%" not in host
    name = host.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _parses(IPv4Address, host)
    return len(name) <= _LONGEST_NAME and all(map(_LABEL.fullmatch, labels))


def _parses(address: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        address(text)
    except ValueError:
        return False
    return True


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

    url: Annotated[str, Field(min_length=1, max_length=2_048), AfterValidator(_check_url)]
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
