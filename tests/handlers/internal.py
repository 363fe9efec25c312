"""A kind that nobody may ask for."""

from dataclasses import replace

from app.handler_api.payload import Payload
from app.handlers.simulate.handler import HANDLER


class Hidden(Payload, kind="hidden"):
    """Takes an empty object."""


HANDLERS = (replace(HANDLER, payload=Hidden, is_internal=True),)
