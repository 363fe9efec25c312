"""METRICS_PORT: shows what is counted where consumers run without an API."""

import os
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from app.core.config import Settings
from app.core.errors import SettingsError
from app.core.metrics import CONTENT_TYPE, Metrics

_TIMEOUT_SECONDS = 5.0


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # All consumers of a machine listen, and whichever is asked shows the sums of all: the port outlives each of them.
    allow_reuse_port = True
    daemon_threads = True


def serve_metrics(settings: Settings, metrics: Metrics) -> None:
    """Answer GET /metrics from a thread until the process ends. Raises SettingsError where the port can't be had."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = metrics.text() if found else b"This port has /metrics only.\n"
            self.send_response(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", CONTENT_TYPE if found else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Not a line for each scrape."""

    try:
        server = _Server((settings.host, settings.metrics_port), Handler)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        where = f"{settings.host}:{settings.metrics_port}"
        raise SettingsError(f"METRICS_PORT: can't listen on {where} ({reason})") from None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
