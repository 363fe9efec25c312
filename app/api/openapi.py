"""The description at /openapi.json, and /docs, which reads it and works offline."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from app.api.bulk_schemas import BulkBody
from app.api.delivery_schemas import GroupEnded, TaskEnded
from app.api.group_schemas import THEN_CONTENT, NewGroupBody, ThenBody
from app.api.new_task_schemas import NewTaskBody
from app.api.queue_schemas import QueueChange
from app.api.schedule_schemas import ScheduleBody
from app.api.schemas import JSON_VALUE, Problem, Readiness

_SWAGGER_UI = Path(__file__).parent / "swagger_ui"
_DESCRIPTION = """
A task queue over HTTP. POST a task, get its id, poll it or cancel it.

What is answered with 201 is kept, whatever process dies and even if Redis loses everything. What is answered as
canceled never completes.
"""


def reference(model: type[BaseModel]) -> dict[str, str]:
    """A reference to the model's schema."""
    return {"$ref": f"#/components/schemas/{_name(model)}"}


def add_documentation(app: FastAPI, kinds: Sequence[str]) -> None:
    """Serve /openapi.json and /docs. `kinds`: of task, that there are."""
    app.openapi = lambda: _describe(app, kinds)  # type: ignore[method-assign]
    app.mount("/docs/swagger-ui", StaticFiles(directory=_SWAGGER_UI), name="swagger-ui")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Taskmill",
            swagger_js_url="/docs/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui/swagger-ui.css",
            swagger_favicon_url="/docs/swagger-ui/favicon-32x32.png",
        )


def _describe(app: FastAPI, kinds: Sequence[str]) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title="Taskmill", version=app.version, description=_DESCRIPTION, routes=app.routes, tags=app.openapi_tags
        )
        schemas = schema["components"]["schemas"]
        for model in (NewTaskBody, NewGroupBody, ScheduleBody, BulkBody, QueueChange, Problem, Readiness):
            schemas.update(_definitions(model))
        for message in (TaskEnded, GroupEnded):  # of what FastAPI has by its own names already
            schemas[_name(message)] = message.model_json_schema(ref_template="#/components/schemas/{model}")
            del schemas[_name(message)]["$defs"]
        # Put in here, since pydantic does not refer to what is no model.
        schemas["JsonValue"] = JSON_VALUE
        for model in (NewTaskBody, ScheduleBody):
            schemas[_name(model)]["properties"]["content"]["$ref"] = "#/components/schemas/JsonValue"
        schemas[_name(ThenBody)]["properties"]["content"] |= THEN_CONTENT
        for model in (NewTaskBody, ThenBody, ScheduleBody):
            kind = schemas[_name(model)]["properties"]["kind"]
            kind["anyOf"] = [{"type": "string", "enum": list(kinds)}, {"type": "null"}]
        _put_back_examples(schema, app)
        app.openapi_schema = _by_title(schema)
    return app.openapi_schema


def _definitions(model: type[BaseModel]) -> dict[str, Any]:
    """The model's schema and those it refers to, all by their titles, which pydantic does not take for names."""
    definition = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = {_name(model): definition} | definition.pop("$defs", {})
    text = json.dumps(definitions)
    for name, inner in definitions.items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{inner["title"]}"')
    return {inner["title"]: inner for inner in json.loads(text).values()}


def _by_title(schema: dict[str, Any]) -> dict[str, Any]:
    """With all schemas by their titles, as clients that are generated call them; FastAPI takes our classes' names."""
    text = json.dumps(schema)
    for name, inner in schema["components"]["schemas"].items():
        text = text.replace(f'"#/components/schemas/{name}"', f'"#/components/schemas/{inner["title"]}"')
    renamed: dict[str, Any] = json.loads(text)
    schemas = renamed["components"]["schemas"]
    renamed["components"]["schemas"] = {inner["title"]: inner for inner in schemas.values()}
    return renamed


def _put_back_examples(schema: dict[str, Any], app: FastAPI) -> None:
    """FastAPI leaves out whatever is null, so that the example of a new task would have no `updated_at`."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                answers = schema["paths"][route.path][method.lower()]["responses"]
                for status, answer in route.responses.items():
                    for media_type, content in answer.get("content", {}).items():
                        answers[str(int(status))]["content"][media_type]["example"] = content["example"]


def _name(model: type[BaseModel]) -> str:
    return str(model.model_config.get("title") or model.__name__)
