"""Logging in and out with a browser: a code or a token becomes a session's cookie, and what a cookie may ask.

A browser sends cookies along whoever made it ask, so a cookie alone proves little. It goes to our own pages only
(SameSite); every write names a value that only they can read, and a WebSocket's handshake must come from them. And
since pages of others would be our own to a browser if we handed them on, a session reaches no proxied page and no
API that another server answers.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from hmac import compare_digest
from urllib.parse import parse_qs, urlsplit

from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from ksql.auth.authenticate import ANONYMOUS
from ksql.auth.identity import Authorizer, Question, User
from ksql.auth.sessions import SESSION_SECONDS, Session, Sessions, csrf_of
from ksql.base.clock import rfc3339
from ksql.base.documents import Document
from ksql.schema.errors import BadRequestError, ForbiddenError, NotFoundError, UnauthorizedError
from ksql.serve import loginpage
from ksql.serve.exchange import NOT_ALLOWED, Exchange, Header

# Where the app finds the session in the scope of whoever came with one.
SESSION = "ksql.session"
CSRF_HEADER = b"ksql-csrf"
# A code and a path: a form of ours is far smaller.
FORM_BYTES_MAX = 16 * 1024
HTML_TYPE = b"text/html; charset=utf-8"

_SAFE = ("GET", "HEAD", "OPTIONS")
_PROXIED = re.compile(r"/api/v1/(?:namespaces/[^/]+/(?:pods|services)|nodes)/[^/]+/proxy(?:/|$)")
_PAGE_HEADERS: Sequence[Header] = (
    (b"content-security-policy", loginpage.POLICY),
    (b"x-content-type-options", b"nosniff"),
    # The origin must go along with forms, or they could not be told from those of others.
    (b"referrer-policy", b"same-origin"),
)

Answer = Callable[[Exchange], Awaitable[None]]
Headers = dict[bytes, bytes]


class Login:
    """The paths around sessions, and the sessions of requests."""

    def __init__(self, sessions: Sessions, authorizer: Authorizer) -> None:
        self.sessions, self._authorizer = sessions, authorizer
        # Who else can say who somebody is: shown on the page.
        self.provider = ""

    def visitor(self, scope: Scope, headers: Headers) -> Session | None:
        """The session that a request's cookie carries. `ForbiddenError` for what a cookie alone may not ask."""
        token = _cookie(headers)
        session = self.sessions.of(token) if token else None
        if session is None:
            return None
        if scope["type"] == "websocket":
            if not _is_same_origin(headers):
                raise ForbiddenError("a session's WebSocket has to come from a page of this server")
        elif scope["method"] not in _SAFE:
            named = headers.get(CSRF_HEADER, b"")
            if not compare_digest(named, csrf_of(token).encode()):
                raise ForbiddenError("a write of a session has to name its csrf value in the header ksql-csrf")
        if _PROXIED.match(scope["path"]):
            raise ForbiddenError("a browser's session reaches no proxied pages: use kubectl proxy or port-forward")
        scope[SESSION] = session
        return session

    async def attended(self, scope: Scope, work: Awaitable[None]) -> None:
        """Do what a request asks for, no longer than its session lasts; `SessionEndedError` where that is shorter."""
        with self.sessions.attending(scope[SESSION]):
            await work

    def routes(self) -> list[BaseRoute]:
        """Where all this is."""
        return [
            Route("/login", Answered({"GET": self._page, "POST": self._log_in}, "login")),
            Route("/login/page.js", Answered({"GET": _script}, "login")),
            Route("/login/page.css", Answered({"GET": _style}, "login")),
            Route("/login/links", Answered({"POST": self._link}, "login")),
            Route("/logout", Answered({"POST": self._log_out}, "logout")),
            Route("/session", Answered({"GET": self._own}, "session")),
            Route("/sessions", Answered({"GET": self._list}, "session")),
            Route("/sessions/{id}", Answered({"DELETE": self._revoke}, "session")),
        ]

    async def _page(self, exchange: Exchange) -> None:
        query = parse_qs(exchange.scope["query_string"].decode("latin-1"))
        await self.show(exchange, 200, local(query.get("next", [""])[0]))

    async def show(self, exchange: Exchange, code: int, next: str, fault: str = "") -> None:
        """The page on which one logs in."""
        await exchange.answer(code, loginpage.page(next, fault, self.provider), HTML_TYPE, _PAGE_HEADERS)

    async def _log_in(self, exchange: Exchange) -> None:
        if not _is_same_origin(exchange.headers):
            raise ForbiddenError("one logs in on a page of this server")
        form = await _form(exchange)
        next, code = local(form.get("next", "")), form.get("code", "").strip()
        if code:
            # A link may be pasted as a whole.
            found = self.sessions.redeemed(code.rpartition("#")[2].rpartition("code=")[2])
            if found is None:
                return await self._refuse(exchange, next, "The code is not good, or no longer. Ask for another one.")
            return await self.admit(exchange, *found, next)
        user = exchange.user
        if user is None or user is ANONYMOUS:
            return await self._refuse(exchange, next, "A one-time code, or a bearer token as Authorization, is needed.")
        if user.impersonator:
            raise ForbiddenError("nobody logs in with another's name put on")
        return await self.admit(exchange, user, _way(exchange), next)

    async def _refuse(self, exchange: Exchange, next: str, why: str) -> None:
        if not _is_page_wanted(exchange):
            raise UnauthorizedError(why)
        await self.show(exchange, 401, next, why)

    async def admit(self, exchange: Exchange, user: User, way: str, next: str) -> None:
        """Begin a session and lead on."""
        session, token = self.sessions.begin(user, way, exchange.source, exchange.user_agent)
        value = f"{_cookie_name(exchange.headers)}={token}; Max-Age={SESSION_SECONDS}{_COOKIE_ATTRIBUTES}"
        cookie = (b"set-cookie", value.encode())
        if _is_page_wanted(exchange):
            await exchange.answer(303, b"", HTML_TYPE, [(b"location", next.encode()), cookie, *_PAGE_HEADERS])
        else:
            await exchange.answer_json(200, {**_told(session), "csrf": csrf_of(token)}, [cookie])

    async def _link(self, exchange: Exchange) -> None:
        """A code for whoever asks, to be used in a browser."""
        user = exchange.user
        assert user is not None
        if user.impersonator or SESSION in exchange.scope:
            raise ForbiddenError("a link is given to whoever proves his own name: not by a session, not as another")
        await exchange.answer_json(201, {"code": self.sessions.code(user)})

    async def _log_out(self, exchange: Exchange) -> None:
        session = exchange.scope.get(SESSION)
        if session is None:
            raise BadRequestError("there is no session to end: this request did not come with one")
        self.sessions.end(session.id)
        gone = f"{_cookie_name(exchange.headers)}=; Max-Age=0{_COOKIE_ATTRIBUTES}".encode()
        headers = [(b"set-cookie", gone), (b"clear-site-data", b'"cache"')]
        await exchange.answer_json(200, {"ended": session.id}, headers)

    async def _own(self, exchange: Exchange) -> None:
        """Who one is, and what a page needs to write."""
        user, session = exchange.user, exchange.scope.get(SESSION)
        assert user is not None
        told: Document = {"user": user.name, "groups": list(user.groups), "way": _way(exchange)}
        if session is not None:
            told = {**_told(session), "csrf": csrf_of(_cookie(exchange.headers))}
        await exchange.answer_json(200, told)

    async def _list(self, exchange: Exchange) -> None:
        own = exchange.scope.get(SESSION)
        shown = [_told(one, own) for one in self.sessions.all() if self._may(exchange, "list", one)]
        await exchange.answer_json(200, {"sessions": shown})

    async def _revoke(self, exchange: Exchange) -> None:
        id = exchange.path.rpartition("/")[2]
        found = next((one for one in self.sessions.all() if one.id == id), None)
        if found is None or not self._may(exchange, "delete", found):
            raise NotFoundError(f"there is no session {id[:40]!r}")
        self.sessions.end(id)
        await exchange.answer_json(200, {"ended": id})

    def _may(self, exchange: Exchange, verb: str, session: Session) -> bool:
        """One's own, or anybody's for whoever may list and delete at the path of all."""
        user = exchange.user
        assert user is not None
        if session.user.name == user.name:
            return True
        # Everybody may get there, for the sake of his own; these verbs are what roles give for others'.
        return self._authorizer.authorize(Question(user, verb, path="/sessions")).allowed


_COOKIE_ATTRIBUTES = "; Path=/; Secure; HttpOnly; SameSite=Strict"


def port_of(headers: Headers) -> str:
    """The port that a browser was led to. Cookies do not tell ports apart, and one machine may run several clusters."""
    port = headers.get(b"host", b"").decode("latin-1").rpartition("]")[2].rpartition(":")[2]
    return port if port.isascii() and port.isdecimal() else "443"


def _cookie_name(headers: Headers) -> str:
    return f"__Host-ksql-{port_of(headers)}"


def _cookie(headers: Headers) -> str:
    return cookie_of(headers, _cookie_name(headers)) if b"__Host-ksql-" in headers.get(b"cookie", b"") else ""


def cookie_of(headers: Headers, wanted: str) -> str:
    """The value of a cookie; empty without it."""
    given = headers.get(b"cookie", b"")
    for part in given.decode("latin-1").split(";"):
        name, _, value = part.strip().partition("=")
        if name == wanted:
            return value
    return ""


def _is_same_origin(headers: Headers) -> bool:
    """Whether a page of ours asks. Browsers say from where in one of two ways, other programs say nothing."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site is not None:
        return site in (b"same-origin", b"none")
    return origin is None or urlsplit(origin.decode("latin-1")).netloc.encode() == headers.get(b"host", b"")


def _is_page_wanted(exchange: Exchange) -> bool:
    return b"text/html" in exchange.headers.get(b"accept", b"")


def _way(exchange: Exchange) -> str:
    if SESSION in exchange.scope:
        return str(exchange.scope[SESSION].way)
    return "token" if b"authorization" in exchange.headers else "certificate"


def _told(session: Session, own: Session | None = None) -> Document:
    told: Document = {
        "id": session.id, "user": session.user.name, "groups": list(session.user.groups), "way": session.way,
        "created": rfc3339(session.created), "expires": rfc3339(session.expires), "source": session.source,
        "userAgent": session.user_agent,
    }  # fmt: skip
    return {**told, "own": own.id == session.id} if own is not None else told


def local(path: str) -> str:
    """A path of this server to lead on to; the root for anything else."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if is_ours else "/"


async def _form(exchange: Exchange) -> dict[str, str]:
    data = await exchange.body(FORM_BYTES_MAX)
    if not data:
        return {}
    kind = exchange.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise BadRequestError("expected a form: application/x-www-form-urlencoded")
    try:
        return {name: values[0] for name, values in parse_qs(data.decode("latin-1"), max_num_fields=10).items()}
    except ValueError as error:
        raise BadRequestError(f"the form cannot be read: {error}") from None


async def _script(exchange: Exchange) -> None:
    await exchange.answer(200, loginpage.SCRIPT, b"text/javascript; charset=utf-8", _PAGE_HEADERS)


async def _style(exchange: Exchange) -> None:
    await exchange.answer(200, loginpage.STYLE, b"text/css; charset=utf-8", _PAGE_HEADERS)


class Answered:
    """A path that an exchange answers, by method."""

    def __init__(self, answers: dict[str, Answer], label: str) -> None:
        self._answers, self._label = answers, label

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["ksql.exchange"]
        method = "GET" if exchange.method == "HEAD" else exchange.method
        answer = self._answers.get(method)
        # A method that nobody answers is whatever a client sent: no label of a metric.
        exchange.verb, exchange.label = method.lower() if answer else "", self._label
        if answer is None:
            allowed = ", ".join(self._answers).encode()
            await exchange.answer(405, NOT_ALLOWED, headers=[(b"allow", allowed)])
            return
        await answer(exchange)
