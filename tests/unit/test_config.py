"""Settings: their defaults, and one clear line for each that is wrong."""

import pytest

from app.core.config import Settings, load
from app.core.errors import SettingsError
from app.handlers import Catalog
from app.handlers.simulate.handler import SimulateOptions

DATABASE_URL = "postgresql://user:hunter2@db:5432/taskmill"
REDIS_URL = "redis://redis:6379/0"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with nothing but the two settings that have no default."""
    for name in (*Settings.model_fields, *SimulateOptions.model_fields):
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATABASE_URL", DATABASE_URL)
    monkeypatch.setenv("REDIS_URL", REDIS_URL)
    return monkeypatch


def test_defaults() -> None:
    """Every setting but the two addresses has a default."""
    assert load(Settings).model_dump() == {
        "database_url": "postgresql+asyncpg://user:hunter2@db:5432/taskmill",
        "redis_url": REDIS_URL,
        "host": "127.0.0.1",
        "port": 8000,
        "api_processes": 1,
        "consumer_processes": 1,
        "consumer_concurrency": 100,
        "consumer_queues": "*",
        "child_processes": 2,
        "child_max_tasks": 1_000,
        "child_memory_mb": 512,
        "cancel_grace_seconds": 2,
        "loop_blocked_seconds": 60,
        "handler_modules": "",
        "schedules_file": "config/schedules.toml",
        "http_allow_private": "",
        "default_kind": "simulate",
        "body_limit_bytes": 1_048_576,
        "poll_seconds": 1,
        "beat_seconds": 2,
        "lease_seconds": 10,
        "max_lost": 3,
        "drain_seconds": 20,
        "stop_wait_seconds": 30,
        "database_pool_size": 5,
        "log_format": "json",
        "log_level": "info",
        "idempotency_hours": 24,
        "keys_file": "config/keys.toml",
        "rate_limit": 0,
        "max_pending": 0,
        "max_streams": 2_000,
        "retention_days": "completed=30, failed=90, canceled=30",
        "metrics_port": 0,
    }
    assert SimulateOptions.load().simulate_seconds == 3


def test_values_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    """By the name in capitals; other variables are no concern."""
    environment.setenv("PORT", "9000")
    environment.setenv("BEAT_SECONDS", "0.25")
    environment.setenv("LOG_FORMAT", "text")
    environment.setenv("TASKMILL_UNKNOWN", "x")
    settings = load(Settings)
    assert (settings.port, settings.beat_seconds, settings.log_format) == (9000, 0.25, "text")


def test_an_empty_variable_is_one_that_is_not_set(environment: pytest.MonkeyPatch) -> None:
    """As `PORT=` in a .env file."""
    environment.setenv("PORT", "")
    environment.setenv("REDIS_URL", "")
    assert _error() == "REDIS_URL is not set"


def test_all_that_is_missing_is_named(environment: pytest.MonkeyPatch) -> None:
    """In one line."""
    environment.delenv("DATABASE_URL")
    environment.delenv("REDIS_URL")
    assert _error() == "DATABASE_URL is not set; REDIS_URL is not set"


@pytest.mark.parametrize(
    "url", ["postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d", "postgresql:///d?host=/run"]
)
def test_every_spelling_of_postgresql_is_taken(environment: pytest.MonkeyPatch, url: str) -> None:
    """What the engine gets always names its driver."""
    environment.setenv("DATABASE_URL", url)
    assert load(Settings).database_url == "postgresql+asyncpg://" + url.partition("://")[2]


@pytest.mark.parametrize("url", ["redis://h", "rediss://:p@h:6380/1", "unix:///run/valkey.sock?db=0"])
def test_every_spelling_of_redis_is_taken(environment: pytest.MonkeyPatch, url: str) -> None:
    """As redis-py takes it."""
    environment.setenv("REDIS_URL", url)
    assert load(Settings).redis_url == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://user:hunter2@db/taskmill"),
        ("DATABASE_URL", "db:5432/hunter2"),
        ("DATABASE_URL", "postgresql+psycopg://user:hunter2@db/taskmill"),
        ("REDIS_URL", "redis:6379/hunter2"),
        ("REDIS_URL", "http://:hunter2@redis"),
        *(("PORT", value) for value in ("0", "65536", "-1", "http", "80.5", "8000 8001")),
        *((name, value) for name in ("API_PROCESSES", "CONSUMER_PROCESSES") for value in ("-1", "257", "all", "0.5")),
        *(("CONSUMER_CONCURRENCY", value) for value in ("0", "100001", "many")),
        *(("BODY_LIMIT_BYTES", value) for value in ("1023", "268435457", "1 MiB")),
        *(
            (name, value)
            for name in ("POLL_SECONDS", "BEAT_SECONDS", "LEASE_SECONDS")
            for value in ("0", "-1", "nan", "inf", "86401", "1s")
        ),
        *(("DRAIN_SECONDS", value) for value in ("-1", "nan", "inf", "86401", "1s")),
        *(("MAX_LOST", value) for value in ("0", "101", "x")),
        *(("STOP_WAIT_SECONDS", value) for value in ("0", "90001", "30.5")),
        *(("METRICS_PORT", value) for value in ("-1", "65536", "off")),
        *(("DATABASE_POOL_SIZE", value) for value in ("1", "1001", "x")),
        *(
            ("RETENTION_DAYS", value)
            for value in (
                *("-1", "x", "30,", "36501", "1e3", "nan", "30 days", "completed", "completed=", "pending=1", "=30"),
                *("completed=30, completed=30", "completed=30,", "30, failed=90", "failed=-1", "COMPLETED=30"),
            )
        ),
        *(("LOG_FORMAT", value) for value in ("xml", "JSON")),
        *(("LOG_LEVEL", value) for value in ("loud", "INFO", "critical")),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The line doesn't repeat an address, since there is a password in it."""
    environment.setenv(name, value)
    error = _error()
    assert error.startswith(f"{name}: ")
    assert len(error) > len(name) + 10
    assert "hunter2" not in error


@pytest.mark.parametrize(
    ("beat", "lease", "fits"), [("2", "6", True), ("2", "5.9", False), ("4", "10", False), ("0.3", "1.2", True)]
)
def test_a_lease_outlasts_three_beats(environment: pytest.MonkeyPatch, beat: str, lease: str, *, fits: bool) -> None:
    """Else one late beat would cost a consumer its tasks."""
    environment.setenv("BEAT_SECONDS", beat)
    environment.setenv("LEASE_SECONDS", lease)
    if fits:
        assert load(Settings).lease_seconds == float(lease)
    else:
        assert _error().startswith(f"LEASE_SECONDS ({lease}) must be at least 3 x BEAT_SECONDS ({beat})")


@pytest.mark.parametrize(("drain", "wait", "fits"), [("20", "28", True), ("20", "27", False), ("23", "30", False)])
def test_supervisor_outwaits_the_drain(environment: pytest.MonkeyPatch, drain: str, wait: str, *, fits: bool) -> None:
    """Else it would kill a consumer that is still stopping."""
    environment.setenv("DRAIN_SECONDS", drain)
    environment.setenv("STOP_WAIT_SECONDS", wait)
    if fits:
        assert load(Settings).stop_wait_seconds == int(wait)
    else:
        assert _error().startswith(f"STOP_WAIT_SECONDS ({wait}) must be at least DRAIN_SECONDS ({drain}) + 8")


@pytest.mark.parametrize(
    ("processes", "port", "fits"), [("1", "8000", False), ("1", "9100", True), ("0", "8000", True)]
)
def test_a_port_is_for_one(environment: pytest.MonkeyPatch, processes: str, port: str, *, fits: bool) -> None:
    """The consumers' metrics are not where the API is."""
    environment.setenv("API_PROCESSES", processes)
    environment.setenv("METRICS_PORT", port)
    if fits:
        assert load(Settings).metrics_port == int(port)
    else:
        assert _error().startswith("METRICS_PORT and PORT are both 8000")


def test_connections_are_those_of_all_processes(environment: pytest.MonkeyPatch) -> None:
    """Two APIs of 5; three consumers of two pools and a lease, two children of 3 and two quarantines of 8."""
    environment.setenv("API_PROCESSES", "2")
    environment.setenv("CONSUMER_PROCESSES", "3")
    assert load(Settings).connections == 2 * 5 + 3 * (2 * 5 + 1 + 2 * 3 + 2 * 8)


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "86401", "long"])
def test_options_of_a_kind_are_checked_alike(environment: pytest.MonkeyPatch, value: str) -> None:
    """When a process starts, not when a task runs."""
    environment.setenv("SIMULATE_SECONDS", value)
    with pytest.raises(SettingsError) as caught:
        Catalog.load(load(Settings))
    assert str(caught.value).startswith("SIMULATE_SECONDS: ")
    assert "\n" not in str(caught.value)


def _error() -> str:
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
