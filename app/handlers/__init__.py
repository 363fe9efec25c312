"""The kinds of task this Taskmill knows: an explicit list."""

from typing import Any

from app.core.errors import SettingsError
from app.handler_api.context import Options
from app.handler_api.handler import Handler
from app.handlers.simulate.handler import HANDLER as SIMULATE

HANDLERS: tuple[Handler[Any, Any], ...] = (SIMULATE,)
BY_KIND: dict[str, Handler[Any, Any]] = {handler.kind: handler for handler in HANDLERS}


def load_options(default_kind: str) -> dict[str, Options]:
    """The options of every kind, from the environment. Raises SettingsError, also where there is no `default_kind`."""
    if default_kind not in BY_KIND:
        raise SettingsError(f"DEFAULT_KIND: there is no kind {default_kind!r}; there are: {', '.join(BY_KIND)}")
    return {handler.kind: handler.options.load() for handler in HANDLERS}
