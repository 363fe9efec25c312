"""The settings of callbacks."""

from typing import Annotated

from pydantic import Field, SecretStr
from standardwebhooks import Webhook

from app.handler_api.context import Options
from app.handler_api.signing import SigningSecrets, signers


class CallbackOptions(Options):
    """Settings of callbacks."""

    callback_secrets: Annotated[
        SigningSecrets,
        Field(
            description="Signs callbacks (Standard Webhooks): `whsec_...`, or several with commas; all sign. "
            "Without any, `callback_url` is refused."
        ),
    ] = SecretStr("")

    @property
    def signers(self) -> list[Webhook]:
        """One for each secret; none where there are no callbacks."""
        return signers(self.callback_secrets)
