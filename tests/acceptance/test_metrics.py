"""GET /metrics: what happens in the API and in consumers moves the numbers, whichever process is asked."""

import socket
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.waiting import until

PREFIX = "taskmill_"
REQUESTS = "http_request_duration_seconds_count"
Labels = frozenset[tuple[str, str]]


async def test_numbers_over_the_life_of_tasks(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """Two consumers and an API count what becomes of tasks; each of the three shows the sums."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"prometheus_multiproc_dir": tmp_path / "metrics", "handler_modules": "tests.handlers.work"}
    async with service(database_url, redis_url, simulate_seconds=0, **settings) as taskmill:
        before = await _scrape(taskmill.url)
        assert before["tasks_failed_total", _labels(code="timeout")] == 0
        for _ in range(2):
            await taskmill.start_consumer(metrics_port=port)
        tasks = [await taskmill.create() for _ in range(4)]
        for task in tasks:
            await taskmill.reaches(task["id"], "completed")
        failing = await taskmill.create({"failures": 2}, kind="flaky", max_attempts=2)
        await taskmill.reaches(failing["id"], "failed")
        later = await taskmill.create(delay_seconds=600)
        await taskmill.client.patch(f"/task/{later['id']}/cancel")
        await taskmill.client.patch(f"/task/{later['id']}/cancel")
        group = await taskmill.client.post("/group", json={"tasks": [{"content": 1}] * 3})
        assert group.status_code == 201
        expected: dict[tuple[str, Labels], float] = {
            ("tasks_created_total", _labels()): 9,
            ("tasks_claimed_total", _labels()): 9,
            ("tasks_completed_total", _labels()): 7,
            ("tasks_failed_total", _labels(code="handler_error")): 1,
            ("attempts_failed_total", _labels(code="handler_error")): 1,
            ("tasks_canceled_total", _labels()): 1,
            ("groups_created_total", _labels()): 1,
            ("groups_ended_total", _labels()): 1,
            ("consumers_started_total", _labels()): 2,
            (REQUESTS, _labels(method="POST", route="/task", status="2xx")): 6,
            (REQUESTS, _labels(method="PATCH", route="/task/{task_id}/cancel", status="2xx")): 2,
        }
        for url in (taskmill.url, f"http://127.0.0.1:{port}"):
            await _shows(url, expected)
        gauges: dict[tuple[str, Labels], float] = {
            ("tasks", _labels(kind="simulate", status="completed")): 7,
            ("tasks", _labels(kind="simulate", status="canceled")): 1,
            ("tasks", _labels(kind="flaky", status="failed")): 1,
            ("tasks", _labels(kind="simulate", status="pending")): 0,
            ("oldest_wait_seconds", _labels(kind="simulate")): 0,
            ("consumers", _labels()): 2,
            ("postgresql_up", _labels()): 1,
        }
        await _shows(taskmill.url, gauges)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            assert (await client.get("/task")).status_code == 404


async def test_each_answer_is_timed_once(database_proxy: Proxy, redis_url: str) -> None:
    """By its route and the class of its status; errors too, and whatever PostgreSQL does."""
    async with service(database_proxy.url, redis_url) as taskmill:
        await taskmill.client.get("/task/x")
        await taskmill.client.get("/nothing/here")
        await taskmill.client.get("/nor/there")
        await taskmill.client.post("/task", content="{")
        await taskmill.client.head("/health")
        await taskmill.client.request("DELETE", "/task")
        await taskmill.client.request("BREW", "/task")
        await database_proxy.stop()
        assert (await taskmill.client.post("/task", json={"content": 1})).status_code == 500
        waiting = await _scrape(taskmill.url)
        assert waiting["postgresql_up", _labels()] == 0
        answer = await taskmill.client.get("/metrics")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        numbers = _numbers(answer.text)
        counts = {
            tuple(value for _, value in sorted(labels)): number
            for (name, labels), number in numbers.items()
            if name == REQUESTS
        }
        assert counts.pop(("GET", "/livez", "2xx")) >= 1
        assert counts == {
            ("GET", "/task/{task_id}", "4xx"): 1,
            ("POST", "/task", "4xx"): 1,
            ("POST", "/task", "5xx"): 1,
            ("GET", "/health", "2xx"): 1,
            ("DELETE", "/task", "4xx"): 1,
            ("GET", "other", "4xx"): 2,
            ("GET", "/metrics", "2xx"): 1,
        }
        assert numbers["http_request_duration_seconds_sum", _labels(method="POST", route="/task", status="5xx")] > 0


async def test_a_port_that_is_taken_is_named(database_url: str, redis_url: str) -> None:
    """The consumer ends with one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with Service(database_url, redis_url) as taskmill:
            consumer = taskmill.launch_consumer(metrics_port=taken.getsockname()[1])
            assert await consumer.exit_code() == 2
            assert consumer.output().startswith("taskmill: METRICS_PORT: can't listen on 127.0.0.1:")
            assert consumer.output().count("\n") == 1


async def _shows(url: str, expected: dict[tuple[str, Labels], float]) -> None:
    """Wait until these are the numbers, which other processes may be about to write."""
    found: dict[tuple[str, Labels], float] = {}

    async def fact() -> bool:
        found.update(await _scrape(url))
        return expected.items() <= found.items()

    try:
        await until(fact, 5)
    except AssertionError:
        assert {key: found.get(key) for key in expected} == expected


async def _scrape(url: str) -> dict[tuple[str, Labels], float]:
    async with httpx2.AsyncClient(base_url=url) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
    return _numbers(answer.text)


def _numbers(text: str) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def _labels(**labels: str) -> Labels:
    return frozenset(labels.items())
