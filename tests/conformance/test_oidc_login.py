"""A browser logs in with a small real provider: the code flow with PKCE, and each way in which it may not."""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml

from ksql.kubeconfig import load
from tests.support import provider as providers
from tests.support.provider import Provider
from tests.support.server import Server, running, until

PAGE = {"accept": "text/html", "sec-fetch-site": "cross-site"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with providers.running(tmp_path_factory.mktemp("provider")) as provider:
        provider.clients["ksql"] = "the client's secret"
        yield provider


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("login")
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    (folder / "authentication.yaml").write_text(yaml.safe_dump({**head, "jwt": [provider.config()]}))
    (folder / "secret").write_text("the client's secret\n")
    with running(
        folder / "data", "--nodes", "0", "--no-dns", f"--authentication-config={folder / 'authentication.yaml'}",
        f"--login-issuer={provider.url}", f"--login-client-secret-file={folder / 'secret'}",
    ) as server:  # fmt: skip
        yield server


@pytest.fixture
def browser(server: Server, provider: Provider) -> Iterator[httpx.Client]:
    """One that trusts both, and follows nobody by itself."""
    found = load(server.kubeconfig)
    trusted = ssl.create_default_context(cadata=(found.authority or b"").decode() + provider.authority)
    provider.spoil.clear()
    with httpx.Client(base_url=found.server, verify=trusted, headers=PAGE, timeout=30) as http:
        yield http


def led_back(browser: httpx.Client, next: str = "/t") -> str:
    """Out to the provider and on: the address by which the browser comes back."""
    out = browser.get("/login/oidc", params={"next": next})
    assert out.status_code == 303, out.text
    back = httpx.get(out.headers["location"], verify=browser._transport._pool._ssl_context)  # type: ignore[attr-defined]
    assert back.status_code == 302
    return back.headers["location"]


def test_whoever_the_provider_knows_is_logged_in_by_its_word(
    server: Server, provider: Provider, browser: httpx.Client
) -> None:
    page = browser.get("/login")
    assert f"Log in with 127.0.0.1:{provider.port}" in page.text

    def logged_in() -> bool:
        answer = browser.get(led_back(browser))
        return answer.status_code == 303 and answer.headers["location"] == "/t"

    # The provider's keys are fetched beside the start.
    until(logged_in)
    told = browser.get("/session").json()
    assert told["user"] == "oidc:ann" and told["way"] == "oidc"
    assert browser.get("/api/v1/secrets", headers={"accept": "application/json"}).status_code == 403


def test_what_is_asked_for_is_the_code_flow_with_pkce(browser: httpx.Client, provider: Provider) -> None:
    out = browser.get("/login/oidc?next=//evil.example")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(out.headers["location"]).query).items()}
    assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{str(browser.base_url).rstrip('/')}/login/callback"
    assert len(asked["code_challenge"]) == 43 and len(asked["state"]) >= 32 and len(asked["nonce"]) >= 32
    cookie = out.headers["set-cookie"]
    assert re.match(r"__Host-ksql-oidc-\d+=", cookie)
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


def test_a_login_ends_in_the_browser_in_which_it_began_and_once(browser: httpx.Client) -> None:
    address = led_back(browser)
    trusted = browser._transport._pool._ssl_context  # type: ignore[attr-defined]
    other = httpx.get(address, headers=PAGE, verify=trusted)
    assert other.status_code == 401 and "begun elsewhere" in other.text and "set-cookie" not in other.headers
    # It was used up by the try.
    assert browser.get(address).status_code == 401
    address = led_back(browser)
    assert browser.get(address).status_code == 303
    assert browser.get(address).status_code == 401


@pytest.mark.parametrize(
    "spoil",
    [
        {"back": {"iss": "https://evil.example"}}, {"back": {"error": "access_denied"}}, {"back": {"code": "stolen"}},
        {"back": {"state": "guessed"}}, {"claims": {"nonce": "another"}}, {"claims": {"audience": "another"}},
        {"claims": {"exp": 1}}, {"claims": {"sub": ""}}, {"claims": {"iss": "https://evil.example"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_logs_nobody_in(browser: httpx.Client, provider: Provider, spoil: dict[str, Any]) -> None:
    provider.spoil.update(spoil)
    answer = browser.get(led_back(browser))
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    # What went wrong is for the server's own lines.
    assert "evil" not in answer.text and "Traceback" not in answer.text
    assert browser.get("/session").status_code == 401


def test_a_wrong_secret_is_no_client(browser: httpx.Client, provider: Provider) -> None:
    provider.clients["ksql"] = "another secret"
    try:
        assert browser.get(led_back(browser)).status_code == 401
    finally:
        provider.clients["ksql"] = "the client's secret"


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--login-issuer", "https://x"), "name the issuer in --authentication-config"),
        (("--login-issuer", "https://x", "--authentication-config", "FILE"), "no issuer of --authentication-config"),
        (("--login-issuer", "ISSUER", "--authentication-config", "FILE", "--login-client-id", "other"), "audiences"),
    ],
)
def test_a_provider_that_cannot_be_is_refused(
    server: Server, provider: Provider, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    file = str(server.data.parent / "authentication.yaml")
    given = [{"FILE": file, "ISSUER": provider.url}.get(one, one) for one in arguments]
    done = server.ksql("up", "--data", str(tmp_path / "d"), *given, check=False)
    assert done.returncode == 2 and words in done.stderr
