"""Log lines: of events, of uvicorn and of the libraries.

They go through the standard library's logging, set up by config/uvicorn.log.conf.yml for every process alike, and are
rendered by structlog: JSON, or text for people, as LOG_FORMAT says.
"""

import logging
import logging.config
import os
from pathlib import Path
from typing import Any

import structlog
import yaml

from app.core import events as e
from app.core.config import Settings
from app.core.words import LEVELS, lines

LOG_CONFIG = Path(__file__).parents[2] / "config" / "uvicorn.log.conf.yml"

_log = logging.getLogger("taskmill")


class Formatter(structlog.stdlib.ProcessorFormatter):
    """One line a record: of uvicorn, of the libraries, and of ours, which carry their fields as `extra`."""

    def __init__(self) -> None:
        renderer: Any
        if os.environ.get("LOG_FORMAT", "json") == "text":
            renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
        else:
            renderer = structlog.processors.JSONRenderer()
        shared: list[Any] = [
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
        ]
        super().__init__(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_color_message,
                renderer,
            ],
        )


def set_up_logging(settings: Settings) -> None:
    """Apply the log configuration and the level."""
    if not logging.getLogger("taskmill").handlers:  # in the API uvicorn has read the same file already
        logging.config.dictConfig(yaml.safe_load(LOG_CONFIG.read_text()))
    _log.setLevel(settings.log_level.upper())


def log_event(event: e.Event) -> None:
    """Write the lines of an event; each line of a task's life carries its task_id."""
    level = LEVELS.get(type(event), logging.INFO)
    if _log.isEnabledFor(level):
        for message, fields in lines(event):
            error = fields.pop("exc_info", None)
            _log.log(level, message, extra=fields, exc_info=error)


def _without_color_message(_: Any, __: str, event_dict: Any) -> Any:
    event_dict.pop("color_message", None)  # uvicorn says the same twice
    return event_dict
