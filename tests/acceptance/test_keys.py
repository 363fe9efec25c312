"""API keys on a live service: what is a key, what needs one, and what happens when the file changes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.test_documentation import OF_KEYS, OPEN, OPERATIONS
from tests.support.keys import KeysFile
from tests.support.processes import ROOT, Process, Service, service
from tests.support.refusals import assert_problem
from tests.support.servers import Servers
from tests.support.waiting import until
from tests.support.wire import JSON, Answer, connect, request

# Headers with the right key as KEY, another right one as OTHER.
ACCEPTED = {
    "X-API-Key": ("X-API-Key: KEY",),
    "bearer": ("Authorization: Bearer KEY",),
    "bearer in capitals": ("AUTHORIZATION: BEARER   KEY ",),
    "a proxy's own authorization": ("Authorization: Basic dXNlcjpwYXNz", "X-API-Key: KEY"),
}
REFUSED = {
    "nothing": (),
    "empty": ("X-API-Key:",),
    "blank": ("X-API-Key:   ",),
    "empty bearer": ("Authorization: Bearer",),
    "basic": ("Authorization: Basic dXNlcjpwYXNz",),
    "no scheme": ("Authorization: KEY",),
    "unknown": ("X-API-Key: tm_" + "0" * 64,),
    "one letter less": ("X-API-Key: SHORTER",),
    "one letter more": ("X-API-Key: KEYx",),
    "in quotes": ('X-API-Key: "KEY"',),
    "its hash": ("X-API-Key: HASH",),
    "not ASCII": ("X-API-Key: tm_\xe9\xff\xa0",),
    "very long": ("X-API-Key: " + "x" * 20_000,),
    "both headers, one key": ("X-API-Key: KEY", "Authorization: Bearer KEY"),
    "both headers, two keys": ("X-API-Key: KEY", "Authorization: Bearer OTHER"),
    "both headers, one empty": ("X-API-Key:", "Authorization: Bearer KEY"),
    "twice": ("X-API-Key: KEY", "X-API-Key: KEY"),
    "twice, two keys": ("X-API-Key: KEY", "X-API-Key: OTHER"),
    "bearer twice": ("Authorization: Bearer KEY", "Authorization: Bearer KEY"),
    "two in one": ("X-API-Key: KEY, OTHER",),
    "another header": ("Api-Key: KEY",),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeysFile:
    """A few callers."""
    file = KeysFile(tmp_path_factory.mktemp("keys") / "keys.toml")
    file.add("reader", "read", "acme")
    file.add("writer", "write", "acme")
    file.add("other", "write", "umbrella")
    file.add("admin", "admin")
    return file


@pytest.fixture(scope="module")
async def live(servers: Servers, live_database_url: str, keys: KeysFile) -> AsyncIterator[Service]:
    """An API process with these keys."""
    settings = {"keys_file": keys.path, "handler_modules": "tests.handlers.groups", "simulate_seconds": 0}
    async with service(live_database_url, servers.redis_url, **settings) as running:
        yield running


@pytest.mark.parametrize("headers", ACCEPTED.values(), ids=ACCEPTED)
async def test_a_key_is_taken(live: Service, keys: KeysFile, headers: tuple[str, ...]) -> None:
    """In either header."""
    answer = await _ask(live, "GET", "/task/x", *_filled(headers, keys))
    assert_problem(answer, 404)


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
async def test_what_is_no_valid_key_is_refused(live: Service, keys: KeysFile, headers: tuple[str, ...]) -> None:
    """Always with the same words, and a challenge; the connection goes on."""
    filled = _filled(headers, keys)
    async with connect(live.url) as wire:
        answer = await wire.ask(request("POST", "/task", JSON, *filled, body=b'{"content": 1}'))
        assert (await wire.ask(request("GET", "/health"))).status == 200
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="taskmill"'
    assert answer.body == (await _ask(live, "POST", "/task")).body


async def test_no_key_is_ever_logged(live: Service, keys: KeysFile) -> None:
    """Nor is part of one."""
    for key in (keys.key("writer"), "tm_" + "5" * 64):
        await _ask(live, "GET", "/task/x", f"X-API-Key: {key}")
        for process in live.processes:
            assert key[3:20] not in process.output()


@pytest.mark.parametrize(
    ("method", "path", "without", "with_key"),
    [
        ("GET", "/nothing", 401, 404),
        ("GET", "/", 401, 404),
        ("GET", "/health/", 401, 404),
        ("GET", "/Health", 401, 404),
        ("GET", "//health", 401, 404),
        ("GET", "/docs", 200, 200),
        ("GET", "/docs/../task/x", 404, 404),  # a path of /docs, that is not there
        ("GET", "/docs/swagger-ui/..%2f..%2ftask_api.py", 404, 404),
        ("GET", "/%68ealth", 200, 200),
        ("GET", "/task", 401, 200),
        ("DELETE", "/group", 401, 405),
        ("OPTIONS", "/task", 401, 405),
        ("HEAD", "/schedule", 401, 200),
        ("HEAD", "/health", 200, 200),
        ("POST", "/health", 405, 405),
        ("GET", "/task/x?api_key=KEY", 401, 404),
    ],
)
async def test_paths(live: Service, keys: KeysFile, method: str, path: str, without: int, with_key: int) -> None:
    """Without a key nobody learns what there is; what is open is open, and nothing beside it."""
    path = path.replace("KEY", keys.key("admin"))
    assert (await _ask(live, method, path)).status == without
    assert (await _ask(live, method, path, f"X-API-Key: {keys.key('admin')}")).status == with_key


async def test_a_role_that_is_too_low(live: Service, keys: KeysFile) -> None:
    """403 before anything is looked at: the body, and whether there is such a thing."""
    for method, path, role in (
        ("POST", "/task", "write"),
        ("PATCH", "/task/x/cancel", "write"),
        ("PUT", "/schedule/-", "admin"),
    ):
        answer = await live.client.request(method, path, content=b"{", headers=keys.headers("reader"))
        assert answer.status_code == 403
        assert answer.json()["detail"] == f"The API key may not do this: it takes the role {role}."
    head = await live.client.head("/schedule", headers=keys.headers("reader"))
    assert head.status_code == 403


async def test_the_description_says_what_each_call_takes(live: Service) -> None:
    """A key in one of two headers, and the role; nothing for what is open."""
    description = (await live.client.get("/openapi.json")).json()
    schemes = description["components"]["securitySchemes"]
    assert schemes["apiKey"]["name"] == "X-API-Key"
    assert schemes["bearer"]["scheme"] == "bearer"
    operations = [operation for path in description["paths"].values() for operation in path.values()]
    assert len(operations) == len(OPERATIONS)
    by_id = {operation["operationId"]: operation for operation in operations}
    for operation_id, operation in by_id.items():
        if operation_id in OPEN:
            assert "security" not in operation
            assert "401" not in operation["responses"]
        else:
            ((role,), (same,)) = (next(iter(scheme.values())) for scheme in operation["security"])
            assert role == same
            assert operation["responses"].keys() >= OF_KEYS
    for operation_id, role in (("getTask", "read"), ("createTask", "write"), ("putSchedule", "admin")):
        assert by_id[operation_id]["security"] == [{"apiKey": [role]}, {"bearer": [role]}]


async def test_what_tasks_bring_about_belongs_to_their_tenant(live: Service, keys: KeysFile) -> None:
    """Children, their groups, and what follows a group; other keys see nothing of it."""
    await live.start_consumer()
    acme = keys.headers("writer")
    body = {"tasks": [{"content": {"steps": 1}, "kind": "fan_out"}], "then": {"kind": "report"}}
    group = (await live.client.post("/group", json=body, headers=acme)).json()

    async def is_done() -> bool:
        answer = await live.client.get(f"/task/{group['then_task_id']}", headers=acme)
        return bool(answer.json().get("status") == "completed")

    await until(is_done)
    parent = (await live.client.get(f"/task/{group['task_ids'][0]}", headers=acme)).json()
    assert parent["tenant"] == "acme"
    paths = [f"/task/{group['then_task_id']}", f"/group/{parent['result']['group_id']}"]
    paths += [f"/task/{task_id}" for task_id in parent["result"]["alone"]]
    for path in paths:
        for who, status in (("writer", 200), ("reader", 200), ("other", 404), ("admin", 200)):
            assert (await live.client.get(path, headers=keys.headers(who))).status_code == status, (path, who)


async def test_a_changed_file_is_taken_up(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Without a restart: the first key, the next, a broken file, none; and back."""
    keys = KeysFile(tmp_path / "keys.toml")
    keys.path.touch()
    async with service(database_url, redis_url, keys_file=keys.path) as running:
        api = running.processes[0]
        open_description = (await running.client.get("/openapi.json")).json()
        assert {} in open_description["paths"]["/task"]["post"]["security"]
        await running.create()
        keys.add("billing")
        await until(lambda: _answers(running, {}, 401), 2)
        assert {} not in (await running.client.get("/openapi.json")).json()["paths"]["/task"]["post"]["security"]
        assert await _answers(running, keys.headers("billing"), 404)
        before, good = keys.headers("billing"), keys.path.read_text()
        keys.add("billing")
        await until(lambda: _answers(running, keys.headers("billing"), 404), 2)
        assert await _answers(running, before, 404)
        keys.write("[[key]]\nname = 'tm_0123'")
        await api.wrote("API keys can't be read: those of before stay valid", 2)
        assert await _answers(running, keys.headers("billing"), 404)
        keys.write("# nothing\n")
        await until(lambda: _answers(running, keys.headers("billing"), 401), 2)
        assert await _answers(running, {}, 401)
        assert (await running.client.get("/health")).status_code == 200
        keys.path.unlink()
        keys.write(good)
        await until(lambda: _answers(running, before, 404), 2)
        assert api.output().count("API keys can't be read") == 1
        assert api.output().count("API keys are gone") == 1
        assert "tm_0123" not in api.output()


@pytest.mark.parametrize("command", [("uvicorn", "--factory", "app.main:create_app"), ("app.embedded.serve",)])
async def test_a_wrong_file_stops_the_start(live: Service, tmp_path: Path, command: tuple[str, ...]) -> None:
    """With one line."""
    keys = KeysFile(tmp_path / "keys.toml")
    keys.write("[[key]]\n")
    environment = live.env | {"KEYS_FILE": str(keys.path), "RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = Process(["-m", *command], environment)
    try:
        assert await process.exit_code() == 1
        line = process.output().strip().splitlines()[-1]
        assert line.startswith(f"taskmill: {keys.path}: key 1: name: has 1 to 100")
    finally:
        await process.kill()


async def _answers(live: Service, headers: dict[str, str], status: int) -> bool:
    return (await live.client.get("/task/x", headers=headers)).status_code == status


async def _ask(live: Service, method: str, path: str, *headers: str) -> Answer:
    async with connect(live.url) as wire:
        await wire.send(request(method, path, *headers))
        return await (wire.head() if method == "HEAD" else wire.answer())


def _filled(headers: tuple[str, ...], keys: KeysFile) -> list[str]:
    key = keys.key("writer")
    words = {"HASH": keys.digest("writer"), "SHORTER": key[:-1], "OTHER": keys.key("other"), "KEY": key}
    filled = []
    for header in headers:
        name, _, value = header.partition(":")
        for word, meant in words.items():
            value = value.replace(word, meant)
        filled.append(f"{name}:{value}")
    return filled
