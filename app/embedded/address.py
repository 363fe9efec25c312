"""The API's address, seen from this machine."""

import errno
import http.client
import os
import socket

from app.core.config import Settings
from app.embedded.errors import StartError

_OK = 200
_EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, not listened on


def local(settings: Settings) -> str:
    """Where to reach the API from here, as `host:port`."""
    host = "127.0.0.1" if settings.host == _EVERY_ADDRESS else settings.host
    return f"{host}:{settings.port}"


def require_free(settings: Settings) -> None:
    """Raise StartError when the API could not listen on its address."""
    where = f"{settings.host}:{settings.port}"
    try:
        with socket.socket(socket.AF_INET) as probe:
            # As Supervisor does: connections of an earlier start that linger in TIME_WAIT are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((settings.host, settings.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            other = settings.port + 1 if settings.port < 65_535 else 8000  # noqa: PLR2004 - the last port there is
            raise StartError(
                f"port {settings.port} is taken by another program: stop it, or choose another: PORT={other} make run"
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(f"can't listen on {where} ({reason}): change HOST or PORT; HOST is IPv4 or a name") from None


def ready(settings: Settings) -> bool:
    """Whether /readyz answers 200: the API is up, and so are PostgreSQL and Redis."""
    connection = http.client.HTTPConnection(local(settings), timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
