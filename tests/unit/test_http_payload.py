"""What may be asked of the kind `http`, and what is sent for it."""

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from app.core.errors import InvalidPayloadError
from app.handler_api.trace import child_of
from app.handlers.http.payload import HttpCall
from app.handlers.http.request import request_headers

A = "http://a.example/"

GOOD_URLS = [
    "http://a",
    "https://a.example",
    "HTTP://A.EXAMPLE/",
    "http://a.example:8080/x?y=1&z=%20#part",
    "http://a.example:",
    "http://a#@b",  # a fragment
    "http://localhost/",
    "http://localhost./",
    "http://a_b.example/",
    "http://xn--bcher-kva.example/",
    "http://93.184.216.34/",
    "http://[2606:4700::1111]:8080/",
    "http://[::ffff:93.184.216.34]/",
    "http://a/%2F..%2f/../%zz",  # as it is: whoever signed it knows why
    f"http://{'a.' * 126}a",
    f"http://a/{'x' * 2_039}",
]
BAD_URLS = [
    "",
    " ",
    "/a",
    "//a",
    "a.example",
    "http:a",
    "http:/a",
    "http://",
    "http:///a",
    "http://?a",
    "ftp://a",
    "file:///etc/passwd",
    "gopher://a",
    "http+unix://a",
    "unix:///run/docker.sock",
    "javascript:alert(1)",
    "ws://a",
    "http://@a",
    "http://:@a",
    "http://user@a",
    "http://user:S3CRET@a",
    "http://a@b@c",
    "http://a:0",
    "http://a:-1",
    "http://a:65536",
    "http://a:80:80",
    "http://a:x",
    "http://a\\b",
    "http://a\\@b",
    "http://a b",
    "http://a/ b",
    " http://a",
    "http://a\n",
    "http://a/\r\nX: y",
    "http://a/\u0000",
    "http://a/é",
    "http://bücher.example",
    "http://a..b",
    "http://.a",
    "http://-a",
    "http://a-",
    "http://%61/",
    "http://a%00/",
    "http://a,b",
    "http://a;b",
    "http://(a)",
    f"http://{'a' * 64}",
    f"http://{'a.' * 127}a",
    f"http://a/{'x' * 2_040}",
    "http://[::1",
    "http://::1/",
    "http://[]/",
    "http://[a]/",
    "http://[v1.a]/",
    "http://[127.0.0.1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    # What resolvers take for IPv4 addresses, and nobody means.
    "http://2130706433/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1./",
    "http://256.0.0.1/",
    "http://a.0x/",
    "http://0/",
]
OURS = ["Idempotency-Key", "traceparent", "webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-x"]
OF_THE_CONNECTION = [
    *("Host", "content-length", "Transfer-Encoding", "CONNECTION", "keep-alive", "TE", "Trailer", "Upgrade", "Expect"),
    *("Proxy-Authorization", "proxy-connection", "Accept-Encoding", "Content-Encoding", "HTTP2-Settings"),
]


def _call(**fields: Any) -> HttpCall:
    return HttpCall.parse(json.dumps({"url": A, **fields}))


def _problems(content: Any) -> list[str]:
    with pytest.raises(InvalidPayloadError) as caught:
        HttpCall.parse(json.dumps(content))
    assert "S3CRET" not in str(caught.value)
    assert all(detail for _, detail in caught.value.problems)
    return [pointer for pointer, _ in caught.value.problems]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_good_urls(url: str) -> None:
    """They stay as they are."""
    assert _call(url=url).url == url


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_urls(url: str) -> None:
    """Each is an error at /url, which does not repeat it."""
    assert _problems({"url": url}) == ["/url"]


@given(st.text(max_size=30).map(lambda text: f"http://{text}"))
def test_a_url_is_refused_or_has_a_host_of_one_meaning(url: str) -> None:
    """Nothing but a refusal comes of any text; what is taken has no user, no odd host, and characters of URLs alone."""
    try:
        HttpCall.parse(json.dumps({"url": url}))
    except InvalidPayloadError:
        return
    parsed = URL(url, encoded=True)
    assert parsed.raw_user is parsed.raw_password is None
    assert parsed.raw_host
    assert url.isascii()
    assert url.isprintable()
    assert " " not in url


@pytest.mark.parametrize(
    ("content", "pointers"),
    [
        ({}, ["/url"]),
        ([], [""]),
        ("http://a", [""]),
        (None, [""]),
        ({"url": None}, ["/url"]),
        ({"url": [A]}, ["/url"]),
        ({"url": A, "other": "S3CRET"}, ["/other"]),
        ({"url": A, "method": "post"}, ["/method"]),
        ({"url": A, "method": "CONNECT"}, ["/method"]),
        ({"url": A, "method": "TRACE"}, ["/method"]),
        ({"url": A, "method": "GET\r\n"}, ["/method"]),
        ({"url": A, "method": None}, ["/method"]),
        ({"url": A, "method": "GET", "body": "S3CRET"}, ["/body"]),
        ({"url": A, "method": "HEAD", "body": None}, ["/body"]),
        ({"url": A, "headers": None}, ["/headers"]),
        ({"url": A, "headers": ["A: b"]}, ["/headers"]),
        ({"url": A, "headers": {"A": 1}}, ["/headers/A"]),
        ({"url": A, "headers": {"A": ["b"]}}, ["/headers/A"]),
        ({"url": A, "headers": {"A": "1", "a": "2"}}, ["/headers"]),
        ({"url": A, "headers": {f"A{i}": "" for i in range(65)}}, ["/headers"]),
        ({"url": A, "headers": {"A": "x" * 8_193}}, ["/headers/A"]),
        ({"url": A, "headers": {"A": "x" * 8_192, "B": "x" * 8_192}}, ["/headers"]),
        ({"url": A, "headers": {"A" * 129: "x"}}, [f"/headers/{'A' * 64}"]),
        ({"url": "", "method": 1, "headers": {"Host": "b"}}, ["/url", "/method", "/headers/Host"]),
    ],
)
def test_bad_payloads(content: Any, pointers: list[str]) -> None:
    """Each error is at its field."""
    assert _problems(content) == pointers


@pytest.mark.parametrize("name", [*OURS, *OF_THE_CONNECTION])
def test_headers_that_are_not_the_callers(name: str) -> None:
    """In whatever case they are written."""
    assert _problems({"url": A, "headers": {name: "x"}}) == [f"/headers/{name}"]


@pytest.mark.parametrize("name", ["", " ", "A B", "A:", "A\n", "A\r\nHost", "é", "A\u0000", "(A)", "A,B", '"A"'])
def test_names_that_no_header_has(name: str) -> None:
    """A header's name is a token."""
    assert _problems({"url": A, "headers": {name: "x"}}) == [f"/headers/{name}"]


@pytest.mark.parametrize("value", ["a\nb", "a\r\nHost: b", "a\r", "a\u0000", "é", "a\x7f", " a", "a ", "\ta", "\x0b"])
def test_values_that_no_header_has(value: str) -> None:
    """Nothing ends its line, or means one thing to one reader and another to the next."""
    assert _problems({"url": A, "headers": {"X-A": value}}) == ["/headers/X-A"]


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=12), max_size=3))
def test_headers_are_refused_or_safe(headers: dict[str, str]) -> None:
    """What is taken fits into one line each."""
    try:
        taken = HttpCall.parse(json.dumps({"url": A, "headers": headers})).headers
    except InvalidPayloadError:
        return
    assert taken == headers
    assert all(f"{name}: {value}".isascii() and f"{name}: {value}".isprintable() for name, value in taken.items())


@pytest.mark.parametrize(
    ("fields", "sent", "content_type"),
    [
        ({}, None, None),
        ({"body": None}, b"null", "application/json"),
        ({"body": {"a": [1, 1.5, "é", None, True]}}, '{"a":[1,1.5,"é",null,true]}'.encode(), "application/json"),
        ({"body": "text"}, b'"text"', "application/json"),
        ({"body": "<a>é</a>", "headers": {"content-TYPE": "text/xml"}}, "<a>é</a>".encode(), "text/xml"),
        ({"body": "", "headers": {"Content-Type": "text/plain"}}, b"", "text/plain"),
        ({"body": {"a": 1}, "headers": {"Content-Type": "application/cloudevents+json"}}, b'{"a":1}', None),
        ({"method": "GET"}, None, None),
        ({"method": "DELETE", "body": [1]}, b"[1]", "application/json"),
    ],
)
def test_the_body(fields: dict[str, Any], sent: bytes | None, content_type: str | None) -> None:
    """JSON, unless it is a string whose type is said."""
    call = _call(**fields)
    assert call.encode_body() == sent
    headers = request_headers(call, sent, uuid4(), None, [])
    said = [value for name, value in headers.items() if name.lower() == "content-type"]
    assert said == ([content_type] if content_type else list(fields.get("headers", {}).values()))


GROUP = {"id": "0192d2ab-4e1f-7a30-8b6e-3f0c9a5d7e21", "total": 2, "completed": 1, "failed": 1, "canceled": 0}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, {"group": GROUP}),
        ({"body": {"my": "own"}}, {"my": "own"}),
        ({"body": None}, None),
    ],
)
def test_the_then_of_a_group_tells_what_became_of_it(fields: dict[str, Any], sent: Any) -> None:
    """Where its author gave it nothing else to say."""
    call = HttpCall.parse(json.dumps({"url": A, "group": GROUP, **fields}))
    body = call.encode_body()
    assert body is not None
    assert json.loads(body) == sent
    assert call.content_type == "application/json"


def test_a_get_tells_nothing_of_the_group() -> None:
    """It has no body."""
    call = HttpCall.parse(json.dumps({"url": A, "method": "GET", "group": GROUP}))
    assert (call.encode_body(), call.content_type) == (None, None)


@pytest.mark.parametrize("flags", ["00", "01", "03", "ff"])
def test_a_call_is_in_the_trace_of_its_task(flags: str) -> None:
    """With an id of its own as the next one's parent, and the caller's word on sampling."""
    trace = f"00-{'ab' * 16}-{'cd' * 8}-{flags}"
    first, second = child_of(trace, uuid4()), child_of(trace, uuid4())
    for child in (first, second):
        version, trace_id, parent_id, sampled = child.split("-")
        assert (version, trace_id, sampled) == ("00", "ab" * 16, f"0{int(flags, 16) & 1}")
        assert len(parent_id) == 16
        assert parent_id not in {"cd" * 8, "0" * 16}
    assert first != second


def test_without_a_trace_the_task_is_one() -> None:
    """All attempts at it are in it."""
    task_id = uuid4()
    first, second = child_of(None, task_id), child_of(None, task_id)
    assert first != second
    assert first[:36] == second[:36] == f"00-{task_id.hex}-"
