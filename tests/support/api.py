"""How an API process is run: as config/supervisord.conf and config/run/api.py do."""

import socket

APP = ("--factory", "app.main:create_app")
# The listening socket is standard input.
OPTIONS = (
    *("--fd", "0", "--loop", "app.api.loop:Loop", "--http", "httptools", "--ws", "none"),
    *("--no-access-log", "--no-proxy-headers", "--log-config", "config/uvicorn.log.conf.yml"),
    "--timeout-graceful-shutdown",  # and seconds
)


def listen() -> socket.socket:
    """A socket for it. uvicorn takes it for a Unix socket, so that answers would wait for ACKs."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=2_048)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it is reached."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
