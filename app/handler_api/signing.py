"""How a receiver knows who sends: the signatures of Standard Webhooks (https://www.standardwebhooks.com)."""

import base64
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, SecretStr
from standardwebhooks import Webhook

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)  # as the standard has it


def _check(secrets: SecretStr) -> SecretStr:
    """The library takes what is no base64 as if it were; a receiver's library may not."""
    for secret in _split(secrets):
        try:
            key = base64.b64decode(_padded(secret.removeprefix(_PREFIX)), validate=True)
        except ValueError:  # binascii.Error, and its base where there is more than ASCII
            key = b""
        if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
            raise ValueError(f"must be {_PREFIX} and the base64 of {_KEY_BYTES[0]} to {_KEY_BYTES[-1]} bytes")
    return secrets


# A setting: none, one, or several with commas, as while one takes over from another.
SigningSecrets = Annotated[SecretStr, AfterValidator(_check)]


def signers(secrets: SecretStr) -> list[Webhook]:
    """One for each secret; none where nothing is signed."""
    return [Webhook(secret) for secret in _split(secrets)]


def signature(message_id: str, body: bytes, signers: Iterable[Webhook]) -> dict[str, str]:
    """The headers: over the id, the time of this attempt, and exactly the bytes that are sent.

    By all signers, of which a receiver needs to know one; none without any.
    """
    now = datetime.now(UTC)
    signatures = [signer.sign(message_id, now, body.decode()) for signer in signers]
    if not signatures:
        return {}
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _split(secrets: SecretStr) -> list[str]:
    return [secret for secret in re.split(r"[\s,]+", secrets.get_secret_value()) if secret]


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
