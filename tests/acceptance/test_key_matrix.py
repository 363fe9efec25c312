"""Every route of the API, asked by every sort of caller.

A new route fails here until it has a row: say who may call it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount, Route

from app.api.gate import OPEN_FOLDER, OPEN_PATHS
from app.api.route import BytesRoute
from app.core.caller import Role
from app.main import create_app
from tests.conftest import quick_settings
from tests.support.keys import KeysFile
from tests.support.processes import Service, service
from tests.support.servers import Servers
from tests.support.types import Connection


@dataclass(frozen=True)
class Statuses:
    """What each sort of caller is answered for what belongs to the tenant `acme`, in the order of the asking."""

    nobody: int = 401
    reader: int = 403
    other: int = 404  # a key with the role `write` and another tenant
    unlabeled: int = 404  # the same without a tenant
    writer: int = 200
    admin: int = 200


READ = Statuses(reader=200)
WRITE = Statuses()
MAKE = Statuses(other=201, unlabeled=201, writer=201, admin=201)
ADMIN = Statuses(other=403, unlabeled=403, writer=403)
EACH_ITS_OWN = Statuses(reader=200, other=200, unlabeled=200)
UNLABELED = Statuses(reader=403, other=403, unlabeled=200, writer=403)  # what tells of all tenants
OPEN = Statuses(nobody=200, reader=200, other=200, unlabeled=200)

# {task}, {failed}, {group}, {ended_group}: what acme has. {schedule}: one that is there, or was.
NEW_TASK = {"content": 1}
NEW_GROUP = {"tasks": [{"content": 1}]}
NEW_BULK = {"action": "cancel", "filter": {"kind": ["simulate"]}, "dry_run": True}
NEW_SCHEDULE = {"cron": "0 0 1 1 *", "content": 1}
MATRIX: dict[tuple[str, str], tuple[str, Any, Statuses]] = {
    ("POST", "/task"): ("/task", NEW_TASK, MAKE),
    ("GET", "/task/{task_id}"): ("/task/{task}", None, READ),
    ("PATCH", "/task/{task_id}/cancel"): ("/task/{task}/cancel", None, WRITE),
    # Pending again, so that only the first of those who may finds it failed.
    ("PATCH", "/task/{task_id}/retry"): ("/task/{failed}/retry", None, Statuses(admin=409)),
    ("POST", "/task/batch"): ("/task/batch", [NEW_TASK], MAKE),
    ("GET", "/task"): ("/task", None, EACH_ITS_OWN),
    ("POST", "/task/bulk"): ("/task/bulk", NEW_BULK, MAKE),
    ("DELETE", "/task/{task_id}"): ("/task/{failed}", None, Statuses(writer=204, admin=404)),
    ("GET", "/task/{task_id}/events"): ("/task/{failed}/events", None, READ),
    ("GET", "/task/{task_id}/deliveries"): ("/task/{task}/deliveries", None, READ),
    ("POST", "/task/{task_id}/deliveries"): ("/task/{task}/deliveries", None, Statuses(writer=409, admin=409)),
    ("POST", "/group"): ("/group", NEW_GROUP, MAKE),
    ("GET", "/group/{group_id}/events"): ("/group/{ended_group}/events", None, READ),
    ("GET", "/group/{group_id}/deliveries"): ("/group/{group}/deliveries", None, READ),
    ("POST", "/group/{group_id}/deliveries"): ("/group/{group}/deliveries", None, Statuses(writer=409, admin=409)),
    ("GET", "/group/{group_id}"): ("/group/{group}", None, READ),
    ("PATCH", "/group/{group_id}/cancel"): ("/group/{group}/cancel", None, WRITE),
    ("GET", "/schedule"): ("/schedule", None, ADMIN),
    ("PUT", "/schedule/{name}"): ("/schedule/{schedule}", NEW_SCHEDULE, ADMIN),
    ("GET", "/schedule/{name}"): ("/schedule/{schedule}", None, ADMIN),
    ("POST", "/schedule/{name}/run"): (
        "/schedule/{schedule}/run",
        None,
        Statuses(other=403, unlabeled=403, writer=403, admin=201),
    ),
    ("DELETE", "/schedule/{name}"): (
        "/schedule/{schedule}",
        None,
        Statuses(other=403, unlabeled=403, writer=403, admin=204),
    ),
    ("GET", "/task/{task_id}/why"): ("/task/{task}/why", None, READ),
    ("GET", "/queue"): ("/queue", None, UNLABELED),
    ("GET", "/queue/{name}"): ("/queue/default", None, UNLABELED),
    ("PATCH", "/queue/{name}"): ("/queue/default", {"paused": False}, ADMIN),
    ("GET", "/metrics"): ("/metrics", None, UNLABELED),
    ("GET", "/health"): ("/health", None, OPEN),
    ("GET", "/livez"): ("/livez", None, OPEN),
    ("GET", "/readyz"): ("/readyz", None, OPEN),
    ("GET", "/openapi.json"): ("/openapi.json", None, OPEN),
    ("GET", "/docs"): ("/docs", None, OPEN),
    ("GET", "/docs/swagger-ui"): ("/docs/swagger-ui/swagger-ui.css", None, OPEN),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeysFile:
    """A key of each sort."""
    file = KeysFile(tmp_path_factory.mktemp("keys") / "keys.toml")
    file.add("reader", "read", "acme")
    file.add("other", "write", "umbrella")
    file.add("unlabeled", "write")
    file.add("writer", "write", "acme")
    file.add("admin", "admin")
    return file


@pytest.fixture(scope="module")
async def live(servers: Servers, live_database_url: str, keys: KeysFile) -> AsyncIterator[Service]:
    """An API process with these keys."""
    async with service(live_database_url, servers.redis_url, keys_file=keys.path) as running:
        yield running


@pytest.fixture
async def things(live: Service, live_sql: Connection, keys: KeysFile) -> dict[str, str]:
    """What acme has."""
    acme = keys.headers("writer")
    made = [await live.client.post("/task", json=NEW_TASK, headers=acme) for _ in range(2)]
    groups = [await live.client.post("/group", json=NEW_GROUP, headers=acme) for _ in range(2)]
    group, ended_group = (answer.json()["id"] for answer in groups)
    await live.client.patch(f"/group/{ended_group}/cancel", headers=acme)
    await live.client.put("/schedule/matrix", json=NEW_SCHEDULE, headers=keys.headers("admin"))
    task, failed = (answer.json()["id"] for answer in made)
    await live_sql.execute("UPDATE tasks SET status = 'failed', finished_at = now() WHERE id = $1", failed)
    return {"task": task, "failed": failed, "group": group, "ended_group": ended_group, "schedule": "matrix"}


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[BaseRoute]:
    """All that the app answers."""
    file = str(tmp_path_factory.mktemp("none") / "keys.toml")
    Path(file).touch()
    app = create_app(quick_settings("postgresql://h/d", "redis://h", keys_file=file))
    return [context.original_route for context in iter_route_contexts(app.routes)]


def test_every_route_has_a_row(routes: Sequence[BaseRoute]) -> None:
    """And each row a route."""
    served = set(_served(routes))
    missing, left_over = served - MATRIX.keys(), MATRIX.keys() - served
    assert not missing, f"decide who may call these, and say so in MATRIX: {sorted(missing)}"
    assert not left_over, f"there are no such routes any more: {sorted(left_over)}"


def test_every_row_says_what_its_route_says(routes: Sequence[BaseRoute]) -> None:
    """A BytesRoute has a role; what is none is open, for nothing in it would ask for a role."""
    for route in routes:
        for method, path in _served([route]):
            statuses = MATRIX[method, path][2]
            if isinstance(route, BytesRoute):
                expected = {Role.READ: (False, False), Role.WRITE: (True, False), Role.ADMIN: (True, True)}[route.role]
                assert statuses is UNLABELED or (statuses.reader == 403, statuses.writer == 403) == expected, path
                assert statuses.nobody == 401
            else:
                assert path in OPEN_PATHS or path.startswith(OPEN_FOLDER), f"{path} is no BytesRoute, and not open"
                assert statuses == OPEN


@pytest.mark.parametrize(("method", "path"), MATRIX, ids=lambda part: part)
async def test_every_route_answers_every_caller(
    live: Service, things: dict[str, str], keys: KeysFile, method: str, path: str
) -> None:
    """As the matrix says, in problem+json; of what a caller may not see, as of what is not there."""
    template, body, statuses = MATRIX[method, path]
    for who in ("nobody", "reader", "other", "unlabeled", "writer", "admin"):
        headers = {} if who == "nobody" else keys.headers(who)
        answer = await live.client.request(method, template.format(**things), json=body, headers=headers)
        assert answer.status_code == getattr(statuses, who), (who, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code
        if who == "other" and answer.status_code == 404:
            missing = dict.fromkeys(things, "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21")
            of_nothing = await live.client.request(method, template.format(**missing), json=body, headers=headers)
            assert of_nothing.status_code == 404
            assert of_nothing.json()["detail"] == answer.json()["detail"]


def _served(routes: Sequence[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", route.path
        else:
            assert isinstance(route, Route), route
            for method in sorted(route.methods or ()):
                if method != "HEAD":  # which is answered as GET
                    yield method, route.path
