"""The settings of `http`."""

import base64
import re
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from standardwebhooks import Webhook

from app.handler_api.context import Options

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)  # https://www.standardwebhooks.com


class HttpOptions(Options):
    """Settings of `http`."""

    http_signing_secret: Annotated[
        SecretStr,
        Field(description="Signs `http` requests (Standard Webhooks): `whsec_...`, or several with commas; all sign."),
    ] = SecretStr("")

    @field_validator("http_signing_secret")
    @classmethod
    def _are_secrets(cls, secrets: SecretStr) -> SecretStr:
        """The library takes what is no base64 as if it were; a receiver's library may not."""
        for secret in _split(secrets):
            try:
                key = base64.b64decode(_padded(secret.removeprefix(_PREFIX)), validate=True)
            except ValueError:  # binascii.Error, and its base where there is more than ASCII
                key = b""
            if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
                raise ValueError(f"must be {_PREFIX} and the base64 of {_KEY_BYTES[0]} to {_KEY_BYTES[-1]} bytes")
        return secrets

    @property
    def signers(self) -> list[Webhook]:
        """One for each secret; none where requests are not signed."""
        return [Webhook(secret) for secret in _split(self.http_signing_secret)]


def _split(secrets: SecretStr) -> list[str]:
    return [secret for secret in re.split(r"[\s,]+", secrets.get_secret_value()) if secret]


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
