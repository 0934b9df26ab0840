"""How requests leave their trail: what the doors know of them, told to the audit.

Every door ends here: REST and what is handed on, GraphQL with each thing that a query reads, watches and
conversations from their beginning to their end.
"""

from collections.abc import Mapping

from starlette.types import Message, Scope, Send

from ksql.audit.auditor import Auditor, Trail
from ksql.auth.identity import Question, User
from ksql.base.documents import DocumentError, decode
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import ApiError
from ksql.serve.exchange import Exchange
from ksql.serve.paths import Target, parse

# Where a mounted app finds its request's trail.
TRAIL = "ksql.trail"

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_NOBODY = User("")
SWITCHING_PROTOCOLS = 101
# Of a refused handshake's body: a Status is smaller.
_REFUSAL_BYTES_MAX = 64 * 1024


def opened(auditor: Auditor | None, scope: Scope, correlation: str, headers: Mapping[bytes, bytes]) -> Trail | None:
    """The trail of a request that was let in."""
    if auditor is None:
        return None
    query = scope["query_string"]
    uri = scope["path"] + ("?" + query.decode("latin-1") if query else "")
    peer = (scope.get("client") or ("",))[0]
    agent = headers.get(b"user-agent", b"").decode("latin-1")
    return auditor.open(correlation, uri, peer, agent, headers)


def aim(exchange: Exchange, verb: str, target: Target) -> None:
    """It asks for a resource."""
    if exchange.trail is not None and exchange.user is not None:
        _aim(exchange.trail, exchange.user, verb, target)


def _aim(trail: Trail, user: User, verb: str, target: Target) -> None:
    type = target.type
    trail.aim(
        user, verb, group=type.group, version=type.version, resource=type.resource,
        subresource=target.subresource, namespace=target.namespace, name=target.name,
    )  # fmt: skip


def aim_at(exchange: Exchange, question: Question) -> None:
    """It asks for what another server answers."""
    if exchange.trail is not None:
        trail, q = exchange.trail, question
        trail.aim(
            q.user, q.verb, group=q.group, resource=q.resource, subresource=q.subresource,
            namespace=q.namespace, name=q.name, path=q.path,
        )  # fmt: skip


def aim_path(exchange: Exchange) -> None:
    """It asks for no resource."""
    if exchange.trail is not None and exchange.user is not None:
        exchange.trail.aim(exchange.user, exchange.method.lower(), path=exchange.path)


def finish(exchange: Exchange, catalogue: Catalogue) -> None:
    """The answer is out, or nobody waits for it any more."""
    trail, error = exchange.trail, exchange.error
    if trail is None:
        return
    if trail.asked is None:
        _aim_late(trail, exchange.user, exchange.method, exchange.path, catalogue)
    trail.finished(exchange.code, error.reason if error else "", error.message if error else "")


def _aim_late(trail: Trail, user: User | None, method: str, path: str, catalogue: Catalogue) -> None:
    """It was refused before anybody looked at what it asks for."""
    try:
        target = parse(catalogue, path) if path.startswith(("/api/", "/apis/")) else None
    except ApiError:
        target = None
    if isinstance(target, Target):
        reading = "watch" if method == "WATCH" else "get" if target.name else "list"
        deleting = "delete" if target.name else "deletecollection"
        verb = _VERBS.get(method) or (deleting if method == "DELETE" else reading)
        _aim(trail, user or _NOBODY, verb, target)
    else:
        trail.aim(user or _NOBODY, "get" if method == "WATCH" else method.lower(), path=path)


class Overheard:
    """The answers that an app gives over a WebSocket, heard in passing."""

    def __init__(self, send: Send, trail: Trail | None) -> None:
        self._send, self.trail = send, trail
        self.code, self._body = 0, b""

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.code = SWITCHING_PROTOCOLS
            if self.trail is not None:
                self.trail.started(self.code)
        elif kind == "websocket.http.response.start":
            self.code = message["status"]
        elif kind == "websocket.http.response.body" and len(self._body) < _REFUSAL_BYTES_MAX:
            self._body += message.get("body", b"")
        elif kind == "websocket.close" and not self.code:
            # Closed before it was accepted: the handshake is answered with this.
            self.code = 403
        await self._send(message)

    def finish(self) -> None:
        """The conversation is over."""
        if self.trail is not None:
            reason, message = _told(self._body) if self.code >= 400 else ("", "")
            self.trail.finished(self.code or 499, reason, message)


def _told(body: bytes) -> tuple[str, str]:
    """Reason and message of a Status."""
    try:
        status = decode(body)
        return str(status.get("reason", "")), str(status.get("message", ""))
    except (DocumentError, AttributeError):
        return "", ""


def conversation(trail: Trail | None, user: User | None, scope: Scope, catalogue: Catalogue) -> None:
    """A WebSocket asks for something."""
    if trail is None:
        return
    query = scope["query_string"]
    is_watch = b"watch=true" in query or b"watch=1" in query
    _aim_late(trail, user, "WATCH" if is_watch else "GET", scope["path"], catalogue)
