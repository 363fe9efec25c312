"""The client of handlers connects to nothing private, by whatever way it is led there."""

import asyncio
import shutil
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import ClientConnectorError, ClientSession, web
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app import __version__
from app.handler_api.http import AddressRefusedError, GuardedConnector, ThreadResolver, open_client
from tests.support.receiver import Receiver, answering

LOOPBACK = "127.0.0.0/8,::1/128"


@asynccontextmanager
async def client(allow_private: str = "", resolver: AbstractResolver | None = None) -> AsyncIterator[ClientSession]:
    """The client under test."""
    session = open_client(allow_private, resolver)
    try:
        yield session
    finally:
        await session.close()


class Names(AbstractResolver):
    """Answers each lookup of any name with the next list of addresses; the last one stays."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses."""
        del family
        self.lookups += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.255.0.9", "127.255.0.9"),
        ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - to connect to it is to connect to this machine
        ("localhost", "127.0.0.1"),
        ("LOCALHOST", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),  # the system's resolver takes it for an address
        ("0x7f000001", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::]", "::"),
        ("[::ffff:127.0.0.1]", "::ffff:7f00:1"),
        ("[::ffff:7f00:1]", "::ffff:7f00:1"),
        ("[::127.0.0.1]", "::7f00:1"),
        ("[64:ff9b::127.0.0.1]", "64:ff9b::7f00:1"),
        ("[2002:7f00:1::]", "2002:7f00:1::"),
        ("[fe80::1%25lo]", "fe80::1%25lo"),
        ("169.254.169.254", "169.254.169.254"),
    ],
)
async def test_private_addresses_are_refused(receiver: Receiver, host: str, named: str) -> None:
    """Literals and names alike, with an error that names the address and the setting."""
    async with client() as session:
        with pytest.raises(AddressRefusedError) as caught:
            await session.post(f"http://{host}:{receiver.port}/")
    assert named in str(caught.value)
    assert "HTTP_ALLOW_PRIVATE" in str(caught.value)
    assert isinstance(caught.value, ClientConnectorError)
    assert isinstance(caught.value, OSError)
    assert not receiver.heard


@pytest.mark.parametrize("host", ["2130706433", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.1.", "0", "134744072"])
@pytest.mark.parametrize("allowed", ["", LOOPBACK])
async def test_odd_forms_of_addresses_are_no_hosts(receiver: Receiver, host: str, allowed: str) -> None:
    """They would be what the socket makes of them."""
    async with client(allowed) as session:
        with pytest.raises(aiohttp.InvalidURL):
            await session.post(f"http://{host}:{receiver.port}/")
    assert not receiver.heard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
@pytest.mark.parametrize("allowed", ["127.0.0.0/8", "127.0.0.1", "10.0.0.0/8, 127.0.0.1/32"])
async def test_private_addresses_can_be_allowed(receiver: Receiver, host: str, allowed: str) -> None:
    """By a network that has them."""
    async with client(allowed) as session, session.get(f"http://{host}:{receiver.port}/") as answer:
        assert await answer.text() == "ok"


async def test_a_name_that_turns_private_is_refused_when_it_does(receiver: Receiver) -> None:
    """DNS rebinding: each connection is checked by the address that it goes to, and not by an earlier answer."""
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    async with client("127.0.0.1/32", names) as session:
        connector = session.connector
        assert isinstance(connector, GuardedConnector)
        url = f"http://rebinding.example:{receiver.port}/"
        async with session.get(url, headers={"Connection": "close"}) as answer:
            assert answer.status == 200
        connector.clear_dns_cache()
        with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.2"):
            await session.get(url)
    assert names.lookups == 2
    assert len(receiver.heard) == 1


async def test_a_resolver_that_answers_with_a_name_leads_nowhere(receiver: Receiver) -> None:
    """The socket would resolve it once more."""
    async with client("127.0.0.1", Names(["localhost"])) as session:
        with pytest.raises(AddressRefusedError):
            await session.get(f"http://a.example:{receiver.port}/")


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2", "10.0.0.1"],
        ["127.0.0.2", "::1", "10.0.0.1", "fe80::1", "169.254.169.254"],
        ["::1", "127.0.0.2"],
        ["::ffff:127.0.0.2", "127.0.0.2"],
    ],
)
async def test_each_address_of_a_name_is_checked(receiver: Receiver, addresses: list[str]) -> None:
    """Also where several are tried at once, and however their errors are put together."""
    async with client("", Names(addresses)) as session:
        with pytest.raises(AddressRefusedError) as caught:
            await session.get(f"http://many.example:{receiver.port}/")
    assert all(address in str(caught.value) for address in addresses)
    assert "many.example" in str(caught.value)


async def test_the_admitted_address_of_a_name_is_used(receiver: Receiver) -> None:
    """Those that are refused are passed over."""
    names = Names(["127.0.0.2", "::1", "127.0.0.1"])
    async with client("127.0.0.1", names) as session, session.get(f"http://a.example:{receiver.port}/") as answer:
        assert answer.status == 200


async def test_an_admitted_address_that_does_not_answer_is_an_error_of_its_own() -> None:
    """What can be better the next time is not called a refusal."""
    async with client("127.0.0.1", Names(["127.0.0.2", "127.0.0.1"])) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await session.get(f"http://a.example:{_closed_port()}/")
    assert not isinstance(caught.value, AddressRefusedError)


@pytest.mark.parametrize("target", ["http://127.0.0.2:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/"])
async def test_a_redirect_is_checked_like_any_address(receiver: Receiver, target: str) -> None:
    """For handlers that follow them."""
    receiver.answer = answering(302, headers={"Location": target.format(port=receiver.port)})
    async with client("127.0.0.1", Names(["127.0.0.2"])) as session:
        with pytest.raises(AddressRefusedError):
            await session.get(receiver.url)
    assert len(receiver.heard) == 1


@pytest.mark.parametrize("url", ["unix:///run/docker.sock", "file:///etc/passwd", "tcp+unix://a", "/a"])
async def test_nothing_but_the_network_is_reached(url: str) -> None:
    """No sockets and files of this machine."""
    async with client(LOOPBACK) as session:
        with pytest.raises((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)):
            await session.get(url)


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would connect in place of the guard."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{_closed_port()}")
    async with client(LOOPBACK) as session, session.get(receiver.url) as answer:
        assert answer.status == 200


async def test_cookies_are_not_kept(receiver: Receiver) -> None:
    """What a server gives to one task, the next one does not bring."""
    receiver.answer = answering(headers={"Set-Cookie": "session=S3CRET; Path=/"})
    async with client(LOOPBACK) as session:
        for _ in range(2):
            async with session.get(URL(receiver.url).with_host("localhost")) as answer:
                assert "session" in answer.cookies
    assert len(receiver.heard) == 2
    assert not any("Cookie" in heard.headers for heard in receiver.heard)


async def test_it_says_who_it_is(receiver: Receiver) -> None:
    """By its name and version."""
    async with client(LOOPBACK) as session, session.get(receiver.url):
        pass
    assert receiver.heard[0].headers["User-Agent"] == f"Taskmill/{__version__}"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
async def test_certificates_are_verified(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A server that is not who it says is no server."""
    folder = tmp_path_factory.mktemp("tls")
    await _make_certificate(folder / "cert.pem", folder / "key.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        async with client(LOOPBACK) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()


async def test_names_are_resolved_beside_the_event_loop() -> None:
    """By the system's resolver, with both families; what is no name is an OSError."""
    resolver = ThreadResolver()
    try:
        found = await resolver.resolve("localhost", 80)
        assert "127.0.0.1" in {each["host"] for each in found}
        assert {each["port"] for each in found} == {80}
        with pytest.raises(OSError, match=r"."):
            await resolver.resolve("nonexistent.invalid", 80)
    finally:
        await resolver.close()


async def test_names_that_hang_keep_no_other_part_from_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lookups that are never answered hold no thread of the event loop, as PostgreSQL's and Redis's names need."""
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: release.wait() and [])
    resolver = ThreadResolver()
    lookups = [asyncio.ensure_future(resolver.resolve("hangs.example")) for _ in range(100)]
    try:
        await asyncio.sleep(0)  # they begin
        async with asyncio.timeout(5):
            await asyncio.to_thread(int)
        assert not any(lookup.done() for lookup in lookups)
    finally:
        release.set()
        await asyncio.gather(*lookups)
        await resolver.close()


def _closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def _make_certificate(certificate: object, key: object) -> None:
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    process = await asyncio.create_subprocess_exec(*command.split(), stderr=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0
