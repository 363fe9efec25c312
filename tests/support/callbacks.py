"""What is told by callbacks: as their receiver hears it, and as the API shows it."""

import base64
from typing import Any

from standardwebhooks import Webhook

from tests.support.processes import Service
from tests.support.receiver import Heard, Receiver
from tests.support.waiting import until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
QUICK = {
    "poll_seconds": 0.2,
    "beat_seconds": 0.3,
    "lease_seconds": 1.2,
    "http_allow_private": "127.0.0.1/32",
    "callback_secrets": f"{SECRET},{OLD_SECRET}",
    "handler_modules": "tests.handlers.groups,tests.handlers.poison",
    "simulate_seconds": 0,
}


async def deliveries(taskmill: Service, path: str) -> list[dict[str, Any]]:
    """Those of the task or group at this path, newest first."""
    answer = await taskmill.client.get(f"{path}/deliveries")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["deliveries"])


async def delivered(taskmill: Service, path: str, status: str = "delivered", seconds: float = 10) -> dict[str, Any]:
    """Wait until its newest delivery has this status."""

    async def fact() -> bool:
        found = await deliveries(taskmill, path)
        return bool(found) and bool(found[0]["status"] == status)

    await until(fact, seconds)
    return (await deliveries(taskmill, path))[0]


def verified(heard: Heard, secret: str = SECRET) -> dict[str, Any]:
    """The message, of which the signature is right."""
    message = Webhook(secret).verify(heard.body, dict(heard.headers))
    assert heard.method == "POST"
    assert heard.headers["Content-Type"] == "application/json"
    return dict(message)


def all_told(receiver: Receiver) -> dict[tuple[str, str], Heard]:
    """(type, id of what has ended) → what was heard, each once."""
    heard = {}
    for each in receiver.heard:
        message = verified(each)
        key = message["type"], message["data"]["id"]
        assert key not in heard
        heard[key] = each
    return heard
