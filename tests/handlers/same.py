"""A kind that there is already."""

from dataclasses import replace

from app.handlers.simulate.handler import HANDLER

HANDLERS = (replace(HANDLER, max_attempts=1),)
