"""The HTTP client of handlers."""

from aiohttp import ClientSession


def open_client(_allow_private: str) -> ClientSession:
    """A client."""
    return ClientSession(trust_env=False)
