"""Logging in with an OpenID provider: the code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core).

The browser is led to the provider and comes back with a code, which the server exchanges for a token; who that stands
for is judged by the same rules as a bearer token of this issuer (`auth/issuers.py`). What began in one browser ends in
the same: its `state` is kept in a cookie too. Nothing that the provider says is shown to anybody but in our own words.
"""

import base64
import logging
import ssl
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from starlette.routing import BaseRoute, Route

from ksql.auth.issuers import Issuer, Issuers
from ksql.auth.tokens import TokenError
from ksql.base.clock import Clock, secret_token
from ksql.serve.exchange import Exchange
from ksql.serve.login import HTML_TYPE, Answered, Login, cookie_of, local, port_of

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

CALLBACK = "/login/callback"
# From leaving for the provider to coming back: somebody may have to look for a second factor.
FLOW_SECONDS = 600.0
# Who leaves and never comes back costs some hundred bytes; beyond so many the oldest are forgotten.
FLOWS_MAX = 1024
ANSWER_SECONDS = 10.0
ANSWER_BYTES_MAX = 1024 * 1024
# How long the provider's addresses count before they are asked for again.
DISCOVERED_SECONDS = 300.0
SCOPES = "openid profile email"


@dataclass(frozen=True, slots=True)
class Client:
    """What this server is to a provider. Without a secret it is a public client, which PKCE protects all the same."""

    issuer: str
    id: str
    secret: str = ""
    scopes: str = SCOPES


@dataclass(frozen=True, slots=True)
class _Flow:
    verifier: str
    nonce: str
    next: str
    redirect: str
    until: float


class ProviderError(Exception):
    """The provider did not say who somebody is; the message is for the server's own lines."""


class OidcLogin:
    """The two paths of the flow."""

    def __init__(self, login: Login, issuers: Issuers, client: Client, clock: Clock) -> None:
        self._login, self._issuers, self._client, self._clock = login, issuers, client, clock
        self._flows: dict[str, _Flow] = {}
        self._found: tuple[float, dict[str, str]] = (0.0, {})
        login.provider = urlsplit(client.issuer).netloc

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/login/oidc", Answered({"GET": self._leave}, "login")),
            Route(CALLBACK, Answered({"GET": self._back}, "login")),
        ]

    async def _leave(self, exchange: Exchange) -> None:
        """Lead to the provider."""
        query = parse_qs(exchange.scope["query_string"].decode("latin-1"))
        next = local(query.get("next", [""])[0])
        try:
            where = (await self._endpoints())["authorization_endpoint"]
        except ProviderError as error:
            return await self._failed(exchange, next, error)
        host = exchange.headers.get(b"host", b"").decode("latin-1")
        flow = _Flow(
            secret_token(48), secret_token(), next, f"https://{host}{CALLBACK}",
            self._clock.monotonic() + FLOW_SECONDS,
        )  # fmt: skip
        state = secret_token()
        while len(self._flows) >= FLOWS_MAX:
            del self._flows[_oldest(self._flows)]
        self._flows[state] = flow
        asked = {
            "response_type": "code", "client_id": self._client.id, "redirect_uri": flow.redirect,
            "scope": self._client.scopes, "state": state, "nonce": flow.nonce,
            "code_challenge": _challenge(flow.verifier), "code_challenge_method": "S256",
        }  # fmt: skip
        location = f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}"
        # It has to come along when the provider leads back, which is from elsewhere.
        cookie = f"{_cookie_name(exchange)}={state}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={FLOW_SECONDS:.0f}"
        headers = [(b"location", location.encode()), (b"set-cookie", cookie.encode())]
        await exchange.answer(303, b"", HTML_TYPE, headers)
        return None

    async def _back(self, exchange: Exchange) -> None:
        """Somebody comes back from the provider."""
        given = {name: values[0] for name, values in _query(exchange).items()}
        state = given.get("state", "")
        flow = self._flows.pop(state, None)
        kept = cookie_of(exchange.headers, _cookie_name(exchange))
        if flow is None or flow.until < self._clock.monotonic() or not compare_digest(state.encode(), kept.encode()):
            why = "This login was begun elsewhere, or too long ago. Begin it again."
            return await self._login.show(exchange, 401, "/", why)
        try:
            if given.get("iss", self._client.issuer) != self._client.issuer:
                raise ProviderError("the answer is of another issuer")
            if "error" in given:
                raise ProviderError(f"it says {given['error'][:200]!r}")
            token = await self._exchanged(given.get("code", ""), flow)
            user = self._judged(token, flow)
        except (ProviderError, TokenError) as error:
            return await self._failed(exchange, flow.next, error)
        return await self._login.admit(exchange, user, "oidc", flow.next)

    async def _failed(self, exchange: Exchange, next: str, error: Exception) -> None:
        logger.warning("login by %s failed: %s", self._client.issuer, error)
        why = f"{self._login.provider} did not say who you are, or not anybody here: the server's log tells more."
        await self._login.show(exchange, 401, next, why)

    def _judged(self, token: str, flow: _Flow) -> Any:
        """Who an identity token stands for, which must be for this very flow."""
        user, audiences = self._issuers.user(token)
        claims = jwt.decode(token, options={"verify_signature": False})
        if self._client.id not in audiences:
            raise ProviderError("its token is for another client")
        if not compare_digest(str(claims.get("nonce", "")), flow.nonce):
            raise ProviderError("its token is for another login")
        return user

    async def _exchanged(self, code: str, flow: _Flow) -> str:
        """The identity token for a code."""
        endpoints = await self._endpoints()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": flow.redirect,
            "client_id": self._client.id, "code_verifier": flow.verifier,
        }  # fmt: skip
        auth = (self._client.id, self._client.secret) if self._client.secret else None
        found = await self._asked("POST", endpoints["token_endpoint"], data=form, auth=auth)
        token = found.get("id_token")
        if not isinstance(token, str):
            raise ProviderError("it answers without an identity token")
        return token

    async def _endpoints(self) -> dict[str, str]:
        """Where the provider is asked."""
        known, found = self._found
        if found and self._clock.monotonic() - known < DISCOVERED_SECONDS:
            return found
        issuer = self._issuer()
        where = issuer.discovery or f"{issuer.url.rstrip('/')}/.well-known/openid-configuration"
        told = await self._asked("GET", where)
        if told.get("issuer") != issuer.url:
            raise ProviderError("its discovery document is another issuer's")
        fresh = {name: str(told.get(name, "")) for name in ("authorization_endpoint", "token_endpoint")}
        if not all(url.startswith("https://") for url in fresh.values()):
            raise ProviderError("its discovery document names no endpoints under https")
        self._found = self._clock.monotonic(), fresh
        return fresh

    def _issuer(self) -> Issuer:
        found = next((one for one in self._issuers.issuers if one.url == self._client.issuer), None)
        if found is None:
            raise ProviderError("the authentication configuration does not name it")
        return found

    async def _asked(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        import httpx

        context = ssl.create_default_context(cadata=self._issuer().authority or None)
        try:
            # No redirections: whom the configuration names answers, nobody else.
            async with (
                httpx.AsyncClient(verify=context, timeout=ANSWER_SECONDS, trust_env=False) as client,
                client.stream(method, url, **more) as answer,
            ):
                return await _document(answer)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            raise ProviderError(str(error) or type(error).__name__) from None


async def _document(answer: "httpx.Response") -> dict[str, Any]:
    import orjson

    data = bytearray()
    async for piece in answer.aiter_bytes():
        data += piece
        if len(data) > ANSWER_BYTES_MAX:
            raise ValueError(f"it answers with more than {ANSWER_BYTES_MAX} bytes")
    if answer.status_code != 200:
        raise ValueError(f"it answers with {answer.status_code}")
    found = orjson.loads(bytes(data))
    if not isinstance(found, dict):
        raise ValueError("it answers with no object")
    return found


def _oldest(flows: dict[str, _Flow]) -> str:
    """The flow that began first."""
    return next(iter(flows))


def _query(exchange: Exchange) -> dict[str, list[str]]:
    return parse_qs(exchange.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _cookie_name(exchange: Exchange) -> str:
    return f"__Host-ksql-oidc-{port_of(exchange.headers)}"


def _challenge(verifier: str) -> str:
    """RFC 7636, 4.2: S256."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
