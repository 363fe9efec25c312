"""The kinds of task this Taskmill knows: an explicit list, and what HANDLER_MODULES adds to it."""

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from app.core.config import Settings
from app.core.errors import SettingsError, UnknownKindError
from app.handler_api.context import Options
from app.handler_api.handler import Handler
from app.handlers.bulk.handler import HANDLER as BULK
from app.handlers.callback.handler import HANDLER as CALLBACK
from app.handlers.http.handler import HANDLER as HTTP
from app.handlers.simulate.handler import HANDLER as SIMULATE

HANDLERS: tuple[Handler[Any, Any], ...] = (SIMULATE, HTTP, BULK, CALLBACK)


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every kind's handler and options."""

    handlers: Mapping[str, Handler[Any, Any]]
    options: Mapping[str, Options]

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The built-in kinds and those of HANDLER_MODULES. Raises SettingsError, one line that names what is wrong."""
        handlers: dict[str, Handler[Any, Any]] = {}
        for handler in (*HANDLERS, *_added(settings.handler_modules)):
            if handlers.setdefault(handler.kind, handler) is not handler:
                raise SettingsError(f"HANDLER_MODULES: there are two handlers of kind {handler.kind!r}")
        if settings.default_kind not in _public(handlers):
            kinds = ", ".join(_public(handlers))
            raise SettingsError(f"DEFAULT_KIND: there is no kind {settings.default_kind!r}; there are: {kinds}")
        queues = {handler.queue for handler in handlers.values()}
        for queue in settings.queues or ():
            if queue not in queues:
                there_are = ", ".join(sorted(queues))
                raise SettingsError(f"CONSUMER_QUEUES: no kind has the queue {queue!r}; there are: {there_are}")
        return cls(handlers, {kind: handler.options.load() for kind, handler in handlers.items()})

    @property
    def kinds(self) -> list[str]:
        """The names of the kinds that may be asked for."""
        return _public(self.handlers)

    @property
    def internal_kinds(self) -> list[str]:
        """The names of those that only Taskmill itself makes."""
        return [kind for kind, handler in self.handlers.items() if handler.is_internal]

    @property
    def queues(self) -> dict[str, list[str]]:
        """Each queue, and its kinds."""
        queues: dict[str, list[str]] = {}
        for handler in self.handlers.values():
            queues.setdefault(handler.queue, []).append(handler.kind)
        return queues

    def handler(self, kind: str) -> Handler[Any, Any]:
        """The handler of a kind. Raises UnknownKindError."""
        handler = self.handlers.get(kind)
        if handler is None:
            raise UnknownKindError(f"There is no such kind of task; there are: {', '.join(self.kinds)}.")
        return handler

    def askable(self, kind: str) -> Handler[Any, Any]:
        """The handler of a kind that may be asked for. Raises UnknownKindError."""
        handler = self.handler(kind)
        if handler.is_internal:
            raise UnknownKindError(f"Tasks of this kind can't be asked for; there are: {', '.join(self.kinds)}.")
        return handler

    def check(self, kind: str, content: str) -> None:
        """Whether a task may be asked for.

        Raises UnknownKindError, also of a kind that only Taskmill itself makes, and InvalidPayloadError where the kind
        does not take this JSON text.
        """
        self.askable(kind).payload.parse(content)


def _public(handlers: Mapping[str, Handler[Any, Any]]) -> list[str]:
    return [kind for kind, handler in handlers.items() if not handler.is_internal]


def _added(modules: str) -> Iterable[Handler[Any, Any]]:
    for name in filter(None, (part.strip() for part in modules.split(","))):
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise SettingsError(f"HANDLER_MODULES: importing {name} fails: {type(error).__name__}: {error}") from error
        handlers = getattr(module, "HANDLERS", None)
        if not isinstance(handlers, tuple | list) or not all(isinstance(handler, Handler) for handler in handlers):
            raise SettingsError(f"HANDLER_MODULES: {name} has no HANDLERS, a tuple of Handler objects")
        yield from handlers
