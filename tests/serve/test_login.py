"""Logging in with a browser: from a link to a cookie, and what a cookie alone may not do."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from ksql.auth.identity import User
from ksql.auth.sessions import SESSION_SECONDS, Session, Sessions
from ksql.base.clock import SystemClock
from ksql.verbs import roles
from ksql.verbs.permissions import Permissions
from tests.serve.cluster import ADMIN, BOB, TOKEN, Rooms, rooms

PAGE = {"accept": "text/html,*/*", "sec-fetch-site": "same-origin"}
COOKIE = "__Host-ksql-443"
ALICE = User("alice", ("system:authenticated",))


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Rooms]:
    clock = SystemClock(seed=1)
    namespaces = ("default", "kube-system", "kube-public")
    async with rooms(clock, permissions=Permissions, sessions=Sessions(clock), namespaces=namespaces) as server:
        await roles.reconcile(server.pipeline)
        yield server


def browser(server: Rooms, **headers: str) -> httpx.AsyncClient:
    """Keeps cookies, as one does, and says where its requests come from."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(server.door, raise_app_exceptions=False), base_url="https://ksql",
        headers={"sec-fetch-site": "same-origin", **headers},
    )  # fmt: skip


def sessions_of(server: Rooms) -> Sessions:
    assert server.door.login is not None
    return server.door.login.sessions


async def logged_in(server: Rooms, http: httpx.AsyncClient, user: User = ADMIN) -> tuple[Session, str]:
    """A browser with a session, and its csrf value."""
    answer = await http.post("/login", data={"code": sessions_of(server).code(user)})
    assert answer.status_code == 200
    return sessions_of(server).all()[-1], answer.json()["csrf"]


async def test_the_page_is_shown_to_anybody_and_lets_in_nothing_from_elsewhere(server: Rooms) -> None:
    async with browser(server) as http:
        page = await http.get("/login?next=/o/%22%3E%3Cscript%3E")
        assert page.status_code == 200 and "<script>" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        for part in ("/login/page.js", "/login/page.css"):
            assert (await http.get(part)).status_code == 200 and part in page.text
        # What the policy lets in is all there is: no style or script within the page.
        assert "style=" not in page.text and "<style" not in page.text and "onload" not in page.text


async def test_a_code_becomes_a_cookie_that_no_script_sees(server: Rooms) -> None:
    async with browser(server) as http:
        code = sessions_of(server).code(ADMIN)
        answer = await http.post("/login", data={"code": code, "next": "/t?from=now-1h"}, headers=PAGE)
        assert answer.status_code == 303 and answer.headers["location"] == "/t?from=now-1h"
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        told = set(cookie.split("; ")[1:])
        assert told == {f"Max-Age={SESSION_SECONDS}", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"}
        assert (await http.get("/api/v1/namespaces")).json()["kind"] == "NamespaceList"
        again = await http.post("/login", data={"code": code}, headers=PAGE)
        assert again.status_code == 401 and "not good" in again.text


@pytest.mark.parametrize(
    "next", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nset-cookie:b"]
)
async def test_the_way_on_never_leads_elsewhere(server: Rooms, next: str) -> None:
    async with browser(server) as http:
        code = sessions_of(server).code(ADMIN)
        answer = await http.post("/login", data={"code": code, "next": next}, headers=PAGE)
        assert answer.headers["location"] == "/"


async def test_a_bearer_token_becomes_a_session_and_a_wrong_one_does_not(server: Rooms) -> None:
    async with browser(server) as http:
        answer = await http.post("/login", headers={"authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200 and answer.json()["way"] == "token"
        assert (await http.get("/session")).json()["user"] == "kubernetes-admin"
    async with browser(server) as http:
        answer = await http.post("/login", headers={"authorization": "Bearer no"})
        assert answer.status_code == 401 and "set-cookie" not in answer.headers


async def test_nobody_is_logged_in_from_a_page_of_others(server: Rooms) -> None:
    async with browser(server) as http:
        for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
            answer = await http.post("/login", data={"code": sessions_of(server).code(ADMIN)}, headers=headers)
            assert answer.status_code == 403
    async with httpx.AsyncClient(transport=httpx.ASGITransport(server.door), base_url="https://ksql") as http:
        for origin, code in (("https://evil.example", 403), ("null", 403), ("https://ksql", 200)):
            answer = await http.post(
                "/login", data={"code": sessions_of(server).code(ADMIN)}, headers={"origin": origin}
            )
            assert answer.status_code == code


async def test_a_write_names_what_only_our_own_pages_can_read(server: Rooms) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made"}}
    async with browser(server) as http:
        _, csrf = await logged_in(server, http)
        for headers in ({}, {"ksql-csrf": "0" * 64}, {"ksql-csrf": ""}):
            refused = await http.post("/api/v1/namespaces", json=body, headers=headers)
            assert refused.status_code == 403 and "csrf" in refused.json()["message"]
        assert (await http.post("/api/v1/namespaces", json=body, headers={"ksql-csrf": csrf})).status_code == 201
        assert (await http.get("/session")).json()["csrf"] == csrf
        assert (await http.delete("/api/v1/namespaces/made", headers={"ksql-csrf": csrf})).status_code == 200


async def test_a_session_reaches_no_page_that_is_not_ours(server: Rooms) -> None:
    async with browser(server) as http:
        await logged_in(server, http)
        for path in (
            "/api/v1/namespaces/default/pods/web/proxy/", "/api/v1/namespaces/default/services/web:80/proxy",
            "/api/v1/nodes/node-1/proxy/logs/",
        ):  # fmt: skip
            answer = await http.get(path)
            assert answer.status_code == 403 and "proxied" in answer.json()["message"]
        # A name is no page.
        assert (await http.get("/api/v1/namespaces/proxy/pods/proxy")).status_code == 404


async def test_logging_out_ends_it_at_once(server: Rooms) -> None:
    async with browser(server) as http:
        _, csrf = await logged_in(server, http)
        kept = http.cookies[COOKIE]
        answer = await http.post("/logout", headers={"ksql-csrf": csrf})
        assert answer.status_code == 200 and "Max-Age=0" in answer.headers["set-cookie"]
        stolen = await http.get("/api/v1/namespaces", headers={"cookie": f"{COOKIE}={kept}"})
        assert stolen.status_code == 401
    async with browser(server, authorization=f"Bearer {TOKEN}") as http:
        assert (await http.post("/logout")).status_code == 400


async def test_everybody_sees_and_ends_his_own_sessions_and_only_those(server: Rooms) -> None:
    async with browser(server) as alices, browser(server, authorization=f"Bearer {TOKEN}") as admin:
        mine, csrf = await logged_in(server, alices, ALICE)
        other, _ = sessions_of(server).begin(User("bob", ("system:authenticated",)), "link", "10.1.1.1", "B/2")
        shown = (await alices.get("/sessions")).json()["sessions"]
        assert [one["id"] for one in shown] == [mine.id] and shown[0]["own"] is True
        refused = await alices.delete(f"/sessions/{other.id}", headers={"ksql-csrf": csrf})
        assert refused.status_code == 404
        everybody = (await admin.get("/sessions")).json()["sessions"]
        assert {one["user"] for one in everybody} == {"alice", "bob"}
        assert (await admin.delete(f"/sessions/{mine.id}")).status_code == 200
        assert (await alices.get("/session")).status_code == 401
        assert (await admin.delete(f"/sessions/{mine.id}")).status_code == 404


async def test_a_link_is_given_to_whoever_proves_his_own_name(server: Rooms) -> None:
    async with browser(server, authorization=f"Bearer {BOB}") as bob, browser(server) as http:
        made = await bob.post("/login/links")
        assert made.status_code == 201
        answer = await http.post("/login", data={"code": f"https://ksql/login#{made.json()['code']}"})
        assert answer.json()["user"] == "bob"
        begotten = await http.post("/login/links", headers={"ksql-csrf": answer.json()["csrf"]})
        assert begotten.status_code == 403
        assert (await http.get("/api/v1/secrets")).status_code == 403
    async with browser(server, authorization=f"Bearer {TOKEN}") as admin:
        put_on = {"impersonate-user": "bob"}
        assert (await admin.post("/login/links", headers=put_on)).status_code == 403
        assert (await admin.post("/login", headers=put_on)).status_code in (401, 403)


async def test_clusters_on_other_ports_of_one_machine_keep_their_cookies_apart(server: Rooms) -> None:
    async with browser(server) as http:
        code = sessions_of(server).code(ADMIN)
        answer = await http.post("/login", data={"code": code}, headers={"host": "127.0.0.1:7001"})
        assert answer.headers["set-cookie"].startswith("__Host-ksql-7001=")
        token = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        for host, code_ in (("127.0.0.1:7001", 200), ("127.0.0.1:7002", 401), ("[::1]:7001", 200), ("[::1]", 401)):
            told = await http.get("/session", headers={"host": host, "cookie": f"__Host-ksql-7001={token}"})
            assert told.status_code == code_


async def test_a_body_that_is_no_form_and_a_method_that_is_none_are_refused(server: Rooms) -> None:
    async with browser(server) as http:
        assert (await http.post("/login", json={"code": "x"})).status_code == 400
        assert (await http.post("/login", content=b"a" * 20_000)).status_code == 413
        assert (await http.put("/login")).status_code == 405
        assert (await http.post("/login", data={"code": "x" * 1000})).status_code == 401
        assert (await http.post("/login", data={f"f{n}": "1" for n in range(50)})).status_code == 400
