"""docs/api.md: its commands run as written, and are answered as it says.

With REWRITE=1 in the environment the answers are written anew.
"""

import os
import re

from tests.support.callbacks import SECRET
from tests.support.curl import Example, examples, learn, masked, run
from tests.support.processes import ROOT, service

PAGE = ROOT / "docs" / "api.md"


async def test_the_page_is_right(database_url: str, redis_url: str) -> None:
    """In its order, on a service that has just been started."""
    page = PAGE.read_text()
    ids: dict[str, str] = {}
    wrong: list[str] = []
    async with service(database_url, redis_url, callback_secrets=SECRET, beat_seconds=0.5) as taskmill:
        await taskmill.start_consumer()
        for example in examples(page):
            answer = await run(taskmill.client, example.command, ids)
            if masked(answer) != masked(example.answer):
                wrong.append(f"{example.command}\n{answer}\nin place of\n{example.answer}")
            learn(example.answer, answer, ids)
            page = _with(page, example, answer)
    if os.environ.get("REWRITE"):
        for told, real in ids.items():
            page = page.replace(told, real)
        PAGE.write_text(page)
    assert not wrong, "\n\n".join(wrong)


def test_the_page_has_every_call() -> None:
    """Each path of the API, at least in words."""
    page = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "{id}", PAGE.read_text())
    page = page.replace("nightly", "{name}").replace("queue/callbacks", "queue/{name}")
    for path in PATHS:
        assert path in page, path


PATHS = (
    *("/task", "/task/{id}", "/task/{id}/cancel", "/task/{id}/retry", "/task/{id}/why", "/task/{id}/events"),
    *("/task/{id}/deliveries", "/task/batch", "/task/bulk"),
    *("/group", "/group/{id}", "/group/{id}/cancel", "/group/{id}/events", "/group/{id}/deliveries"),
    *("/schedule", "/schedule/{name}", "/schedule/{name}/run", "/queue", "/queue/{name}"),
    *("/health", "/livez", "/readyz", "/metrics"),
)


def _with(page: str, example: Example, answer: str) -> str:
    return page.replace(example.block, f"$ {example.command}\n{answer}", 1)
