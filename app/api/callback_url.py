"""Where a client wants to be told that a task or a group has ended."""

from http import HTTPStatus
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from app.api.errors import ProblemError
from app.core.config import Settings
from app.handler_api.url import check_url, literal_address
from app.handlers import Catalog
from app.handlers.callback.options import CallbackOptions
from app.handlers.callback.payload import Callback
from app.utils.public_address import Reach

_LONGEST = 2_000


def _check(text: str) -> str:
    if "#" in text:
        raise PydanticCustomError("url", "has a fragment, which is sent to nobody")
    return check_url(text)


CallbackUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_LONGEST,
        json_schema_extra={"format": "uri"},
        examples=["https://example.com/hooks/taskmill"],
    ),
    AfterValidator(_check),
]


class CallbackUrls:
    """Whether a URL can be called: as far as that is known when it is posted.

    Names are looked up, and all addresses checked, when it is called: what a name means now does not count.
    """

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        options = catalog.options[Callback.kind]
        assert isinstance(options, CallbackOptions)
        self._is_signed = bool(options.signers)
        self._reach = Reach.parse(settings.http_allow_private)

    def check(self, url: str | None) -> None:
        """Raises ProblemError 422, which names the field."""
        detail = self.what_is_wrong(url)
        if detail is not None:
            message = "The callback can't be made."
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, message, [("/callback_url", detail)])

    def what_is_wrong(self, url: str | None) -> str | None:
        """None where nothing is."""
        if url is None:
            return None
        if not self._is_signed:
            return "is not possible: CALLBACK_SECRETS is not set, and nothing is sent unsigned"
        address = literal_address(url)
        if address is not None and not self._reach.admits(address):
            return "is no public address, and none that HTTP_ALLOW_PRIVATE names"
        return None
