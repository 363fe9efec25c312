"""The list of tasks."""

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.types import Receive, Scope

from app.api.body import parse
from app.api.caller import caller
from app.api.cursor import Cursors
from app.api.errors import ProblemError
from app.api.filter_schemas import FilterBody
from app.api.json_text import text
from app.api.query import DETAIL, Pairs, page_limit, read_query, refused, single
from app.api.route import Reply
from app.api.schemas import to_json
from app.api.services import Services
from app.api.task_schemas import TaskRenderer
from app.core.caller import Caller, Role
from app.core.task_filter import TaskFilter, Visible
from app.queue.select import select_tasks

MOST = 200
USUAL = 50
CONTENT = "content."
_LISTS = {"status", "kind"}
_SINGLE = {"group", "priority", "created_after", "created_before", "finished_after", "finished_before"}
_PAGING = {"limit", "cursor"}


class ListApi:
    """Answers for lists of tasks."""

    def __init__(self, services: Services) -> None:
        self._database = services.heavy
        self._render = TaskRenderer(services.catalog)
        self._cursors = Cursors(services.heavy)

    async def list_page(self, scope: Scope, _: Receive) -> Reply:
        """Tasks by status, kind, group, priority, times and what is in their content, newest first, page by page.

        Follow `next` until it is null: a page reads a bounded number of tasks, so it may be short, or even empty, and
        not be the last. Each page costs the same, the first and the ten-thousandth.
        """
        pairs = read_query(scope["query_string"])
        paging = single(pairs, _PAGING)
        wanted = _filter(pairs)
        before: UUID | None = None
        if "cursor" in paging:
            before = await self._cursors.read(paging["cursor"], wanted.to_json())
        limit = page_limit(paging.get("limit"), USUAL, MOST)
        page = await select_tasks(self._database, wanted, visible(caller(scope)), before, limit)
        following = None if page.before is None else await self._cursors.write(page.before, wanted.to_json())
        tasks = b",".join(map(self._render, page.tasks))
        body = b'{"tasks":[%b],"next":%b}' % (tasks, text(following).encode())
        return Reply(HTTPStatus.OK, body, () if following is None else [(b"link", _link(scope, pairs, following))])


def visible(who: Caller) -> Visible:
    """The tasks that there are for this caller."""
    return Visible(is_all=who.role is Role.ADMIN, tenant=who.tenant)


def _filter(pairs: Pairs) -> TaskFilter:
    """What the query asks for. Raises ProblemError."""
    said: dict[str, Any] = {**single(pairs, _SINGLE)}
    for name, value in pairs:
        if name in _LISTS:
            said.setdefault(name, []).extend(value.split(","))
        elif name.startswith(CONTENT):
            inner = said.setdefault("content", {})
            if name.removeprefix(CONTENT) in inner:
                raise refused(name, "is there more than once")
            inner[name.removeprefix(CONTENT)] = value
        elif name not in _SINGLE | _PAGING:
            raise refused(name, "is not a parameter of this call")
    try:
        return parse(FilterBody, to_json(said).encode()).to_filter()
    except ProblemError as error:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, DETAIL, error.errors) from None


def _link(scope: Scope, pairs: Pairs, cursor: str) -> bytes:
    """RFC 8288: the same query, from there on."""
    query = urlencode([*((name, value) for name, value in pairs if name != "cursor"), ("cursor", cursor)])
    return f'<{scope["path"]}?{query}>; rel="next"'.encode()
