"""A browser's first minute: the link that `ksql up` prints, a cookie, a live subscription, and its end."""

import asyncio
import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ksql.kubeconfig import load
from tests.support.server import Server, running, start

SECONDS = 20.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("login") / "data", "--nodes", "1", "--no-dns") as server:
        yield server


def browser(server: Server) -> httpx.Client:
    """It trusts the cluster's authority and has nothing to prove anything with."""
    config = load(server.kubeconfig)
    trusted = ssl.create_default_context(cadata=(config.authority or b"").decode())
    return httpx.Client(base_url=config.server, verify=trusted, headers={"sec-fetch-site": "same-origin"}, timeout=30)


def log_in(server: Server, http: httpx.Client, link: str) -> dict[str, str]:
    answer = http.post("/login", data={"code": link.partition("#")[2]})
    assert answer.status_code == 200, answer.text
    told: dict[str, str] = answer.json()
    return told


def link_of(server: Server) -> str:
    return server.ksql("login").stdout.strip()


async def until_closed(url: str, trusted: ssl.SSLContext, cookie: str, origin: str, begun: asyncio.Event) -> int:
    """Follow the log until the server ends it: with which code."""
    headers = {"Cookie": cookie, "Origin": origin}
    protocols = [Subprotocol("graphql-transport-ws")]
    async with connect(url, ssl=trusted, additional_headers=headers, subprotocols=protocols, proxy=None) as socket:
        await socket.send('{"type":"connection_init"}')
        assert json.loads(await socket.recv())["type"] == "connection_ack"
        payload = {"query": "subscription { events(after: 0) { revision } }"}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
        try:
            while True:
                assert json.loads(await socket.recv())["type"] == "next"
                begun.set()
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return closed.rcvd.code


def test_the_link_that_up_prints_logs_the_administrator_in_once(server: Server) -> None:
    link = re.search(r"https://\S+/login#\S+", server.text())
    assert link is not None
    with browser(server) as http:
        assert log_in(server, http, link.group())["user"] == "kubernetes-admin"
        assert http.get("/api/v1/nodes").json()["kind"] == "NodeList"
        assert http.post("/login", data={"code": link.group().partition("#")[2]}).status_code == 401


def test_a_subscription_by_cookie_comes_from_our_pages_and_ends_with_the_session(server: Server) -> None:
    with browser(server) as http:
        session = log_in(server, http, link_of(server))
        [(name, value)] = http.cookies.items()
        base = str(http.base_url).rstrip("/")
    url, cookie = "wss" + base.removeprefix("https") + "/graphql", f"{name}={value}"
    trusted = ssl.create_default_context(cadata=(load(server.kubeconfig).authority or b"").decode())

    async def story() -> None:
        begun = asyncio.Event()
        for origin in ("https://evil.example", "null"):
            with pytest.raises((InvalidStatus, ConnectionClosed)):
                await until_closed(url, trusted, cookie, origin, begun)
        following = asyncio.create_task(until_closed(url, trusted, cookie, base, begun))
        await asyncio.wait_for(begun.wait(), SECONDS)
        listed = server.ksql("sessions").stdout
        assert session["id"] in listed and "kubernetes-admin" in listed
        await asyncio.to_thread(server.ksql, "sessions", "--revoke", session["id"])
        assert await asyncio.wait_for(following, SECONDS) == 1008

    asyncio.run(story())
    assert session["id"] not in server.ksql("sessions").stdout
    gone = server.ksql("sessions", "--revoke", session["id"], check=False)
    assert gone.returncode == 2 and "there is no session" in gone.stderr


def test_a_watch_by_cookie_ends_with_the_session(server: Server) -> None:
    with browser(server) as http:
        session = log_in(server, http, link_of(server))
        with http.stream("GET", "/api/v1/namespaces?watch=true") as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["type"] == "ADDED"
            server.ksql("sessions", "--revoke", session["id"])
            with pytest.raises(httpx.RemoteProtocolError):
                for _ in lines:
                    pass
        assert http.get("/session").status_code == 401


def test_a_restart_logs_nobody_out(tmp_path: Path) -> None:
    first = start(tmp_path / "data", "--nodes", "0", "--no-dns")
    try:
        with browser(first) as http:
            log_in(first, http, link_of(first))
            [(name, value)] = http.cookies.items()
    finally:
        first.stop()
    with running(tmp_path / "data", "--nodes", "0", "--no-dns") as again, browser(again) as http:
        port = str(http.base_url.port)
        answer = http.get("/session", headers={"cookie": f"__Host-ksql-{port}={value}"})
        assert answer.json()["user"] == "kubernetes-admin", name
