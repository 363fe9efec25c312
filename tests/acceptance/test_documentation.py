"""The description of the service: whole, right, and served by the service alone."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin
from uuid import UUID

import jsonschema_rs
import pytest

from tests.support.processes import Service
from tests.support.types import Connection

OPERATIONS = {
    "createTask": ("post", "/task", {"201", "400", "413", "415", "422", "429", "500"}),
    "createTasks": ("post", "/task/batch", {"200", "201", "207", "400", "413", "415", "422", "429", "500", "503"}),
    "listTasks": ("get", "/task", {"200", "422", "500"}),
    "createBulk": ("post", "/task/bulk", {"201", "400", "413", "415", "422", "500"}),
    "deleteTask": ("delete", "/task/{task_id}", {"204", "404", "409", "500"}),
    "getTask": ("get", "/task/{task_id}", {"200", "304", "404", "422", "429", "500"}),
    "taskEvents": ("get", "/task/{task_id}/events", {"200", "204", "404", "429", "500"}),
    "groupEvents": ("get", "/group/{group_id}/events", {"200", "204", "404", "429", "500"}),
    "retryTask": ("patch", "/task/{task_id}/retry", {"200", "404", "409", "500"}),
    "cancelTask": ("patch", "/task/{task_id}/cancel", {"200", "400", "404", "500"}),
    "putSchedule": ("put", "/schedule/{name}", {"200", "201", "400", "409", "413", "415", "422", "500"}),
    "listSchedules": ("get", "/schedule", {"200", "422", "500"}),
    "getSchedule": ("get", "/schedule/{name}", {"200", "404", "500"}),
    "deleteSchedule": ("delete", "/schedule/{name}", {"204", "404", "409", "500"}),
    "runSchedule": ("post", "/schedule/{name}/run", {"201", "404", "409", "500"}),
    "createGroup": ("post", "/group", {"201", "400", "413", "415", "422", "429", "500"}),
    "getGroup": ("get", "/group/{group_id}", {"200", "304", "404", "422", "429", "500"}),
    "cancelGroup": ("patch", "/group/{group_id}/cancel", {"200", "400", "404", "500"}),
    "listTaskDeliveries": ("get", "/task/{task_id}/deliveries", {"200", "404", "500"}),
    "redeliverTask": ("post", "/task/{task_id}/deliveries", {"201", "404", "409", "500"}),
    "listGroupDeliveries": ("get", "/group/{group_id}/deliveries", {"200", "404", "500"}),
    "redeliverGroup": ("post", "/group/{group_id}/deliveries", {"201", "404", "409", "500"}),
    "listQueues": ("get", "/queue", {"200", "403", "500"}),
    "getQueue": ("get", "/queue/{name}", {"200", "403", "404", "500"}),
    "changeQueue": ("patch", "/queue/{name}", {"200", "400", "403", "404", "413", "415", "422", "500"}),
    "explainTask": ("get", "/task/{task_id}/why", {"200", "404", "500"}),
    "metrics": ("get", "/metrics", {"200"}),
    "health": ("get", "/health", {"200"}),
    "livez": ("get", "/livez", {"200"}),
    "readyz": ("get", "/readyz", {"200", "503"}),
}
# What takes no API key; the answers of everything else are also those to a key.
OPEN = {"health", "livez", "readyz"}
OF_KEYS = {"401", "403", "429"}


@pytest.fixture(scope="module")
async def description(live: Service) -> dict[str, Any]:
    """What /openapi.json answers."""
    answer = await live.client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return dict(answer.json())


async def test_it_is_openapi_3_1(description: dict[str, Any]) -> None:
    """With a title, a version and a text about the service."""
    assert description["openapi"].startswith("3.1.")
    assert description["info"]["title"] == "Taskmill"
    assert description["info"]["version"]
    assert len(description["info"]["description"]) > 100


async def test_every_operation_is_there_with_its_answers(description: dict[str, Any]) -> None:
    """By ids that generated clients can rely on."""
    described = {o["operationId"]: (method, path, set(o["responses"])) for method, path, o in _operations(description)}
    expected = {
        name: (method, path, answers | (set() if name in OPEN else OF_KEYS))
        for name, (method, path, answers) in OPERATIONS.items()
    }
    assert described == expected


async def test_every_operation_is_explained(description: dict[str, Any]) -> None:
    """A line that says what it is, and a text that says what to know."""
    for _, _, operation in _operations(description):
        assert operation["tags"]
        assert 5 < len(operation["summary"]) < 60
        assert len(operation["description"]) > len("A task by its id")


async def test_every_parameter_is_explained(description: dict[str, Any]) -> None:
    """Each variable of a path is a parameter with a description, a schema and an example."""
    for _, path, operation in _operations(description):
        parameters = operation.get("parameters", [])
        assert [p["name"] for p in parameters if p["in"] == "path"] == re.findall(r"{(\w+)}", path)
        for parameter in parameters:
            assert parameter["description"]
            assert parameter["schema"]
            assert parameter["example"]


async def test_every_answer_has_an_example_that_fits_its_schema(description: dict[str, Any]) -> None:
    """Errors are problems; examples are checked against their schemas."""
    for _, _, operation in _operations(description):
        for status, answer in operation["responses"].items():
            assert answer["description"] not in {"", "Successful Response"}
            if status in {"204", "304"}:
                assert "content" not in answer
                continue
            ((media_type, content),) = answer["content"].items()
            if operation["operationId"] == "readyz":
                assert media_type == "application/health+json"
            elif (operation["operationId"], status) == ("metrics", "200"):
                assert media_type == "text/plain"
            elif operation["operationId"].endswith("Events") and status == "200":
                assert media_type == "text/event-stream"
                continue  # its example has a test of its own
            elif (operation["operationId"], status) == ("createTasks", "200"):
                assert media_type == "application/x-ndjson"
                for line in content["example"].splitlines():
                    item = {"$ref": "#/components/schemas/BatchItem"}
                    _validate(description, item, json.loads(line))
            elif status.startswith("2"):
                assert media_type == "application/json"
            else:
                assert media_type == "application/problem+json"
                assert content["example"]["status"] == int(status)
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            _validate(description, content["schema"], content["example"])


async def test_a_500_says_that_there_is_a_retry_after(description: dict[str, Any]) -> None:
    """Its header is described."""
    for _, _, operation in _operations(description):
        if "500" in operation["responses"]:
            assert operation["responses"]["500"]["headers"]["Retry-After"]["description"]


async def test_the_request_has_examples_that_work(live: Service, description: dict[str, Any]) -> None:
    """Each is accepted as it stands."""
    for number, (method, path, operation) in enumerate(_operations(description)):
        if "requestBody" not in operation:
            continue
        body = operation["requestBody"]
        assert body["required"] is True
        for media_type, content in body["content"].items():
            is_text = media_type == "application/x-ndjson"
            assert len(content["examples"]) >= (1 if is_text else 2)
            for name, example in content["examples"].items():
                _validate(description, content["schema"], example["value"])
                answer = await live.client.request(
                    method,
                    path.replace("/queue/{name}", "/queue/default").replace(
                        "{name}", f"e{number}-{name.replace(' ', '-').replace(',', '')}"
                    ),
                    content=example["value"] if is_text else json.dumps(example["value"]),
                    headers={"Content-Type": media_type},
                )
                assert answer.status_code == (200 if is_text or path == "/queue/{name}" else 201)
                assert '"error"' not in answer.text.replace('"error":null', "")


async def test_what_is_answered_fits_its_description(live: Service, description: dict[str, Any]) -> None:
    """Tasks, problems and reports on health."""
    task = await live.create({"any": ["content"]}, callback_url="https://example.com/")
    for name in ("on", "off"):
        await live.client.put(f"/schedule/{name}", json={"cron": "* * * * *", "content": [1], "enabled": name == "on"})
    made = await live.client.post(
        "/group", json={"tasks": [{"content": 1}], "then": {}, "callback_url": "https://e.com/"}
    )
    content = description["paths"]["/group"]["post"]["responses"]["201"]["content"]
    _validate(description, content["application/json"]["schema"], made.json())
    group = made.json()
    batch = await live.client.post("/task/batch", json=[{"content": 1}, {"wrong": 1}])
    content = description["paths"]["/task/batch"]["post"]["responses"]["207"]["content"]
    _validate(description, content["application/json"]["schema"], batch.json())
    for method, path, template, operation_status in (
        ("get", f"/task/{task['id']}", "/task/{task_id}", "200"),
        ("get", "/task/x", "/task/{task_id}", "404"),
        ("get", f"/task/{task['id']}?wait=x", "/task/{task_id}", "422"),
        ("get", "/task/x/events", "/task/{task_id}/events", "404"),
        ("patch", f"/task/{task['id']}/cancel", "/task/{task_id}/cancel", "200"),
        ("patch", "/task/x/cancel", "/task/{task_id}/cancel", "404"),
        ("get", f"/task/{task['id']}/deliveries", "/task/{task_id}/deliveries", "200"),
        ("post", f"/task/{task['id']}/deliveries", "/task/{task_id}/deliveries", "201"),
        ("post", "/task", "/task", "415"),
        ("get", "/task", "/task", "200"),
        ("get", "/task?limit=x", "/task", "422"),
        ("delete", "/task/x", "/task/{task_id}", "404"),
        ("get", "/schedule", "/schedule", "200"),
        ("get", "/schedule?limit=x", "/schedule", "422"),
        ("get", "/schedule/on", "/schedule/{name}", "200"),
        ("get", "/schedule/off", "/schedule/{name}", "200"),
        ("get", "/schedule/none", "/schedule/{name}", "404"),
        ("post", "/schedule/on/run", "/schedule/{name}/run", "201"),
        ("delete", "/schedule/none", "/schedule/{name}", "404"),
        ("get", f"/group/{group['id']}", "/group/{group_id}", "200"),
        ("get", "/group/x", "/group/{group_id}", "404"),
        ("patch", f"/group/{group['id']}/cancel", "/group/{group_id}/cancel", "200"),
        ("patch", "/group/x/cancel", "/group/{group_id}/cancel", "404"),
        ("get", f"/group/{group['id']}/deliveries", "/group/{group_id}/deliveries", "200"),
        ("post", f"/group/{group['id']}/deliveries", "/group/{group_id}/deliveries", "201"),
        ("get", "/queue", "/queue", "200"),
        ("get", "/queue/default", "/queue/{name}", "200"),
        ("get", "/queue/x", "/queue/{name}", "404"),
        ("patch", "/queue/default", "/queue/{name}", "415"),
        ("get", f"/task/{task['id']}/why", "/task/{task_id}/why", "200"),
        ("get", "/task/x/why", "/task/{task_id}/why", "404"),
        ("get", "/health", "/health", "200"),
        ("get", "/livez", "/livez", "200"),
        ("get", "/readyz", "/readyz", "200"),
    ):
        answer = await live.client.request(method, path)
        assert answer.status_code == int(operation_status)
        content = description["paths"][template][method]["responses"][operation_status]["content"]
        _validate(description, content[answer.headers["content-type"]]["schema"], answer.json())


async def test_what_is_sent_to_callbacks_is_described(live: Service, live_sql: Connection, description: Any) -> None:
    """A message as it stands in the table fits its schema."""
    task = await live.create("x", callback_url="https://example.com/")
    await live.client.patch(f"/task/{task['id']}/cancel")
    body = {"tasks": [{"content": 1}], "callback_url": "https://example.com/"}
    group = (await live.client.post("/group", json=body)).json()
    await live.client.patch(f"/group/{group['id']}/cancel")
    for path, its_id in (("/task", task["id"]), ("/group", group["id"])):
        ((_, sent),) = description["paths"][path]["post"]["callbacks"]["ended"].items()
        schema = sent["post"]["requestBody"]["content"]["application/json"]["schema"]
        message = await live_sql.fetchval("SELECT content ->> 'body' FROM tasks WHERE callback_of = $1", UUID(its_id))
        _validate(description, schema, json.loads(message))
        for parameter in sent["post"]["parameters"]:
            assert parameter["description"]


async def test_the_example_of_a_stream_is_a_stream(description: dict[str, Any]) -> None:
    """Its data are the whole task, or group."""
    for name in ("task", "group"):
        state = description["paths"][f"/{name}/{{{name}_id}}"]["get"]["responses"]["200"]
        operation = description["paths"][f"/{name}/{{{name}_id}}/events"]["get"]
        example = operation["responses"]["200"]["content"]["text/event-stream"]["example"]
        (data,) = re.findall("(?m)^data: (.*)$", example)
        _validate(description, state["content"]["application/json"]["schema"], json.loads(data))


async def test_every_field_is_explained(description: dict[str, Any]) -> None:
    """By a description, or an example that says it all."""
    for name, schema in description["components"]["schemas"].items():
        assert schema["description"], name
        for field, definition in schema.get("properties", {}).items():
            assert definition.keys() & {"description", "examples", "const", "items"}, f"{name}.{field}"


async def test_the_kinds_are_listed(description: dict[str, Any]) -> None:
    """Those that this service takes."""
    for body in ("NewTask", "ThenTask", "NewSchedule"):
        kind = description["components"]["schemas"][body]["properties"]["kind"]
        assert {"type": "string", "enum": ["simulate", "http"]} in kind["anyOf"]


async def test_schemas_are_called_what_they_are(description: dict[str, Any]) -> None:
    """By their titles, since clients that are generated take these names; no class of ours is named."""
    for name, schema in description["components"]["schemas"].items():
        assert schema["title"] == name
        assert not name.endswith(("View", "Body"))


async def test_every_reference_resolves(description: dict[str, Any]) -> None:
    """And nothing that is defined is left over."""
    used = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(description)))
    assert used == {f"#/components/schemas/{name}" for name in description["components"]["schemas"]}


async def test_docs_works_offline(live: Service) -> None:
    """All that the page loads comes from the service itself, and so does all that those load."""
    page = await live.client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page.text)
    assert [url.rpartition(".")[2] for url in loaded] == ["css", "png", "js"]
    assert "url: '/openapi.json'" in page.text
    assert "//" not in re.sub(r"(?m)^\s*//.*$|<!--.*?-->", "", page.text)
    for url in loaded:
        assert url.startswith("/docs/")
        asset = await live.client.get(url)
        assert asset.status_code == 200
        assert len(asset.content) > 500
        if url.endswith(".css"):
            assert "@import" not in asset.text
            assert all(target.startswith("data:") for target in re.findall(r"url\([\"']?([^\"')]*)", asset.text))
            assert urljoin(live.url, url).startswith(live.url)


def _operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _validate(description: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema_rs.validate({**schema, "components": description["components"]}, value)
