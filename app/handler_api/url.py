"""URLs that come from whoever may post tasks."""

import re
from ipaddress import IPv4Address, IPv6Address

from pydantic_core import PydanticCustomError
from yarl import URL

# All characters of a URI (RFC 3986). What is sent is what was posted, byte for byte, as signed URLs need it.
_URI = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_LONGEST_NAME = 253
# What a resolver takes for an IPv4 address, in forms that nobody means: 2130706433, 127.1, 0x7f.1.
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)")


def check_url(text: str) -> str:
    """The text, where it is an absolute URL of http or https without credentials. Raises PydanticCustomError."""
    if not _URI.fullmatch(text):
        raise _wrong("has characters that no URL has: percent-encode them, and write the host as xn--...")
    try:
        url = URL(text, encoded=True)
        host, port = url.raw_host or "", url.port
    except ValueError:
        raise _wrong("is no URL") from None
    if url.scheme not in {"http", "https"} or not text.lower().startswith(f"{url.scheme}://"):
        raise _wrong("begins with neither http:// nor https://")
    if "@" in url.raw_authority:
        raise _wrong("has credentials in it: send them as a header, Authorization")
    if not _is_host(host) or ("[" in url.raw_authority and ":" not in host):
        raise _wrong("has no valid host")
    if not port:
        raise _wrong("has no valid port")
    return text


def literal_address(text: str) -> str | None:
    """The IP address that stands in a checked URL; None where a name does."""
    host = (URL(text, encoded=True).raw_host or "").removesuffix(".")
    return host if _parses(IPv6Address, host) or _parses(IPv4Address, host) else None


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


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("url", message)
