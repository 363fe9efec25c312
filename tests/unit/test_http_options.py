"""What is set for HTTP calls is checked when a process starts; secrets are never shown."""

import base64

import pytest
from standardwebhooks import Webhook

from app.core.config import Settings, load
from app.core.errors import SettingsError
from app.handlers.http.options import HttpOptions

KEY = bytes(range(24))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = "whsec_" + base64.b64encode(bytes(64)).decode()


def _load(monkeypatch: pytest.MonkeyPatch, value: str) -> HttpOptions:
    monkeypatch.setenv("HTTP_SIGNING_SECRET", value)
    return HttpOptions.load()


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("", []),
        (" ", []),
        (SECRET, [SECRET]),
        (SECRET.rstrip("="), [SECRET]),
        (OTHER.rstrip("="), [OTHER]),
        (f"{SECRET},{OTHER}", [SECRET, OTHER]),
        (f" {SECRET} {OTHER}, ", [SECRET, OTHER]),
    ],
)
def test_secrets(monkeypatch: pytest.MonkeyPatch, value: str, secrets: list[str]) -> None:
    """None, one or several, in their order, with or without padding."""
    signers = _load(monkeypatch, value).signers
    assert [signer._whsecret for signer in signers] == [Webhook(secret)._whsecret for secret in secrets]


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        "whsec_",
        "whsec_hunter2",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        SECRET.removeprefix("whsec_"),
        SECRET.upper(),
        SECRET.replace("whsec", "whsk"),
        SECRET + "!",
        SECRET[:-3] + "é" + SECRET[-2:],
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
        f"{SECRET};{OTHER}",
        f"{SECRET},hunter2",
    ],
)
def test_a_wrong_secret_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """And not the secret."""
    with pytest.raises(SettingsError) as caught:
        _load(monkeypatch, value)
    assert str(caught.value) == "HTTP_SIGNING_SECRET: must be whsec_ and the base64 of 24 to 64 bytes"


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where options are printed."""
    options = _load(monkeypatch, SECRET)
    assert SECRET[6:] not in f"{options!r} {options} {options.model_dump()}"


@pytest.mark.parametrize(
    "value", [None, "", " ", "10.0.0.0/8", "10.0.0.0/8,127.0.0.1/32,::1/128", "127.0.0.1, fd00::/8"]
)
def test_networks(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """None or several."""
    _set_networks(monkeypatch, value)
    assert load(Settings).http_allow_private == (value or "")


@pytest.mark.parametrize(
    "value", ["10.0.0.1/8", "localhost", "*", "10.0.0.0/8;127.0.0.1", "::ffff:10.0.0.0/104", "10.0.0.0/99"]
)
def test_a_wrong_network_is_one_line_that_names_the_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """And what is wrong."""
    _set_networks(monkeypatch, value)
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert str(caught.value).startswith(f"HTTP_ALLOW_PRIVATE: {value!r} ")
    assert "\n" not in str(caught.value)


def _set_networks(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("REDIS_URL", "redis://h")
    monkeypatch.delenv("HTTP_ALLOW_PRIVATE", raising=False)
    if value is not None:
        monkeypatch.setenv("HTTP_ALLOW_PRIVATE", value)
