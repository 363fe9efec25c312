"""Requests a minute for each key: over all processes, with Redis and without."""

import asyncio
import math
import re
import time
from collections import Counter
from pathlib import Path

from tests.support.keys import KeysFile
from tests.support.processes import Service, service
from tests.support.proxy import Proxy
from tests.support.waiting import until

LIMIT = 30  # one more each 2 s
AT_ONCE = 3  # more would keep the proxy, which is in this process, from answering at once


async def test_two_processes_share_a_limit(database_url: str, redis_proxy: Proxy, tmp_path: Path) -> None:
    """Answers say what is left; what is over it waits; without Redis each process has the limit, and nothing fails."""
    keys = KeysFile(tmp_path / "keys.toml")
    for name in ("warm-up", "shared", "alone", "back", "unlimited", "few"):
        keys.add(name, "read")
    text = keys.path.read_text()
    for name, limit in (("unlimited", 0), ("few", 2)):
        text = text.replace(f'name = "{name}"', f'name = "{name}"\nrate_limit = {limit}')
    keys.write(text)
    settings = {"keys_file": keys.path, "rate_limit": LIMIT}
    async with (
        service(database_url, redis_proxy.url, **settings) as one,
        service(database_url, redis_proxy.url, **settings) as two,
    ):
        both = (one, two)
        for process in both:
            await _until_it_counts_in_redis(process, redis_proxy, keys)
        statuses, more, alone = await _burst(both, keys, "shared", LIMIT)
        assert LIMIT - alone <= statuses[404] <= LIMIT + more + alone  # 60 without sharing
        assert statuses[429] == 2 * LIMIT - statuses[404]
        await _unlimited(one, keys)
        await _own_limit(one, keys)

        await redis_proxy.stop()
        statuses, more, alone = await _burst(both, keys, "alone", 2 * LIMIT)
        assert alone == 4 * LIMIT
        assert 2 * LIMIT <= statuses[404] <= 2 * (LIMIT + more)
        assert statuses[429] == 4 * LIMIT - statuses[404]
        assert (await one.client.get("/task/x", headers=keys.headers("few"))).status_code == 429  # what was, is known
        for process in both:
            await process.processes[0].wrote("redis does not answer while limiting rates")

        await redis_proxy.start()
        for process in both:
            await _until_it_counts_in_redis(process, redis_proxy, keys)
            await process.processes[0].wrote("redis answers again, limiting rates")
        statuses, more, alone = await _burst(both, keys, "back", LIMIT)
        assert LIMIT - alone <= statuses[404] <= LIMIT + more + alone


async def test_answers_say_what_is_left(database_url: str, redis_url: str, tmp_path: Path) -> None:
    """All of them, errors too, but those to nobody in particular; and what is refused there costs nothing."""
    keys = KeysFile(tmp_path / "keys.toml")
    keys.add("billing", "write")
    async with service(database_url, redis_url, keys_file=keys.path, rate_limit=9) as running:
        billing = keys.headers("billing")
        left = []
        for method, path, headers, status in (
            ("POST", "/task", billing, 415),
            ("GET", "/task/x", {}, 401),
            ("GET", "/task/x", {"X-API-Key": "unknown"}, 401),
            ("GET", "/health", billing, 200),
            ("GET", "/schedule", billing, 403),
            ("GET", "/nothing", billing, 404),
            ("DELETE", "/task", billing, 405),
            ("HEAD", "/task/x", billing, 404),
            ("POST", "/task", billing, 415),
            ("GET", "/task/x", billing, 404),
            ("GET", "/task/x", billing, 404),
            ("GET", "/task/x", billing, 404),
            ("GET", "/task/x", billing, 429),
            ("POST", "/task", billing, 429),
        ):
            answer = await running.client.request(method, path, headers=headers)
            assert answer.status_code == status, (method, path)
            if status in {200, 401}:
                assert "ratelimit" not in answer.headers
                assert "ratelimit-policy" not in answer.headers
                continue
            assert answer.headers["ratelimit-policy"] == '"default";q=9;w=60'
            found = re.fullmatch('"default";r=([0-9]);t=([0-9])', answer.headers["ratelimit"])
            assert found
            left.append(int(found[1]))
            if status == 429:
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["retry-after"] == found[2]
                assert 1 <= int(found[2]) <= 7
                assert answer.json()["detail"].startswith("The key has made its 9 requests a minute")
        assert left == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]


async def _burst(processes: tuple[Service, ...], keys: KeysFile, name: str, each: int) -> tuple[Counter[int], int, int]:
    """So many requests to each process, a few at once.

    How many had which status, what came in meanwhile, and how many a process counted alone, as Redis was away or late.
    """
    headers, alone = keys.headers(name), await _counted_alone(processes, keys)
    statuses, begun = Counter[int](), time.monotonic()

    async def ask(process: Service) -> None:
        for _ in range(each // AT_ONCE):
            statuses[(await process.client.get("/task/x", headers=headers)).status_code] += 1

    await asyncio.gather(*(ask(process) for process in processes for _ in range(AT_ONCE)))
    more = math.ceil((time.monotonic() - begun) * LIMIT / 60) + 1
    return statuses, more, await _counted_alone(processes, keys) - alone


async def _counted_alone(processes: tuple[Service, ...], keys: KeysFile) -> int:
    """By what both say of themselves."""
    shown = [await process.client.get("/metrics", headers=keys.headers("unlimited")) for process in processes]
    return sum(int(float(found)) for text in shown for found in re.findall(r"limited_alone_total ([0-9.]+)", text.text))


async def _until_it_counts_in_redis(process: Service, proxy: Proxy, keys: KeysFile) -> None:
    """The process asks Redis: its connection is there, and no outage keeps it away."""

    async def counts() -> bool:
        proxy.requests.clear()
        await process.client.get("/task/x", headers=keys.headers("warm-up"))
        return any(b"EVAL" in request for request in proxy.requests)

    await until(counts)


async def _unlimited(process: Service, keys: KeysFile) -> None:
    """A key with a limit of 0."""
    answers = [await process.client.get("/task/x", headers=keys.headers("unlimited")) for _ in range(LIMIT + 1)]
    assert {answer.status_code for answer in answers} == {404}
    assert "ratelimit" not in answers[0].headers


async def _own_limit(process: Service, keys: KeysFile) -> None:
    """A key with a limit of its own."""
    answers = [await process.client.get("/task/x", headers=keys.headers("few")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [404, 404, 429]
    assert answers[0].headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert 20 <= int(answers[2].headers["retry-after"]) <= 30
