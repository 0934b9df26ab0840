"""The UI's files: for everybody, under a policy that lets nothing in from elsewhere, and honest when unbuilt."""

import gzip
from pathlib import Path

import httpx
import pytest

from ksql.serve.window import PAGES, Window
from tests.serve.cluster import Rooms, in_process

PAGE = {"accept": "text/html,application/xhtml+xml"}
SCRIPT = "/assets/main-abc123.js"


@pytest.fixture
def built(server: Rooms, tmp_path: Path) -> Path:
    """A UI as small as can be."""
    folder = tmp_path / "web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>the page</title>")
    (folder / SCRIPT[1:]).write_text("let nothing = 0;" * 100)
    (folder / (SCRIPT[1:] + ".gz")).write_bytes(gzip.compress(b"let nothing = 0;" * 100))
    (folder / (SCRIPT[1:] + ".br")).write_bytes(b"brotli would be here")
    (tmp_path / "secret.txt").write_text("not for the web")
    server.door.window = Window(folder)
    return folder


async def test_each_route_of_the_ui_is_the_page_and_needs_no_name(server: Rooms, built: Path) -> None:
    async with in_process(server.door, None) as nobody:
        for path in ("/", *PAGES, "/o/apps/v1/deployments/shop/web", "/t?at=1042"):
            answer = await nobody.get(path, headers=PAGE)
            assert (answer.status_code, "the page" in answer.text) == (200, True), path
            assert answer.headers["cache-control"] == "no-cache"


async def test_programs_that_ask_the_root_still_get_its_paths(http: httpx.AsyncClient, built: Path) -> None:
    assert "/api" in (await http.get("/", headers={"accept": "application/json"})).json()["paths"]
    assert "/api" in (await http.get("/")).json()["paths"]


async def test_the_policy_lets_nothing_in_from_elsewhere(server: Rooms, built: Path) -> None:
    async with in_process(server.door, None) as nobody:
        policy = (await nobody.get("/t")).headers["content-security-policy"]
        explorer = (await nobody.get("/q")).headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "http" not in policy and "unsafe" not in policy and "*" not in policy
    loose = {rule for rule in explorer.split("; ") if rule not in policy.split("; ")}
    assert loose == {"style-src 'self' 'unsafe-inline'", "font-src 'self' data:"}


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("identity", None), ("br;q=0, gzip", "gzip"), ("br;q=0.1", "br")],
)
async def test_assets_are_sent_as_they_were_compressed(
    server: Rooms, built: Path, accepted: str, encoding: str | None
) -> None:
    async with (
        in_process(server.door, None) as nobody,
        nobody.stream("GET", SCRIPT, headers={"accept-encoding": accepted}) as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    ending = {None: "", "gzip": ".gz", "br": ".br"}[encoding]
    assert raw == (built / (SCRIPT[1:] + ending)).read_bytes()


async def test_a_page_that_is_the_same_is_not_sent_again(server: Rooms, built: Path) -> None:
    async with in_process(server.door, None) as nobody:
        tag = (await nobody.get("/t")).headers["etag"]
        assert (await nobody.get("/t", headers={"if-none-match": tag})).status_code == 304
        (built / "index.html").write_text("<!doctype html><title>another page</title>")
        assert "another" in (await nobody.get("/t", headers={"if-none-match": tag})).text


@pytest.mark.parametrize(
    "path", ["/assets/../../secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/nothing.js", "/assets/"]
)
async def test_no_path_leads_out_of_the_folder(server: Rooms, built: Path, path: str) -> None:
    async with in_process(server.door, None) as nobody:
        answer = await nobody.get(path)
    assert answer.status_code in (401, 404) and "not for the web" not in answer.text


async def test_nothing_is_written_there(http: httpx.AsyncClient, built: Path) -> None:
    answer = await http.post("/t", content=b"{}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await http.head("/t")).content == b""


async def test_a_checkout_without_the_built_ui_says_so(server: Rooms, tmp_path: Path) -> None:
    server.door.window = Window(tmp_path / "nothing")
    async with in_process(server.door, None) as nobody:
        assert "make web" in (await nobody.get("/", headers=PAGE)).text
        assert (await nobody.get(SCRIPT)).status_code == 404
