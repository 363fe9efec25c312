"""The settings of `http`."""

from typing import Annotated

from pydantic import Field, SecretStr
from standardwebhooks import Webhook

from app.handler_api.context import Options
from app.handler_api.signing import SigningSecrets, signers


class HttpOptions(Options):
    """Settings of `http`."""

    http_signing_secret: Annotated[
        SigningSecrets,
        Field(description="Signs `http` requests (Standard Webhooks): `whsec_...`, or several with commas; all sign."),
    ] = SecretStr("")

    @property
    def signers(self) -> list[Webhook]:
        """One for each secret; none where requests are not signed."""
        return signers(self.http_signing_secret)
