"""Who is asking? A client certificate or a bearer token becomes a `User`; headers may put on another's name.

A peer's certificate was verified when its connection was made; whether it is believed still, `trust.py` says on
each request, since a connection may outlive that. What proves nothing is `None` (401 at the door, unless the path is
public). Pure but for the clock.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import unquote

from ksql.auth import bootstraptokens
from ksql.auth.authorize import refusal
from ksql.auth.frontproxy import spoken_for
from ksql.auth.identity import (
    ADMIN_GROUP,
    AUTHENTICATED,
    SERVICE_ACCOUNT_USER,
    SERVICE_ACCOUNTS,
    Authorizer,
    Question,
    User,
)
from ksql.auth.issuers import Issuers
from ksql.auth.pki import ADMIN_USER, PROXY
from ksql.auth.reviewed import Reviewed
from ksql.auth.tokens import TokenError, Tokens
from ksql.auth.trust import Trust
from ksql.base.clock import Clock
from ksql.schema.errors import BadRequestError

UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))

INVALID_TOKEN = "invalid bearer token"

_IMPERSONATE = b"impersonate-"


class Authenticator:
    """Certificates of the cluster's authority, tokens that stand for one user each, and signed ones."""

    def __init__(
        self,
        clock: Clock,
        tokens: Mapping[str, User],
        accounts: Tokens | None = None,
        issuers: Issuers | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Without `trust` no certificate proves anything."""
        self._clock, self.accounts, self.issuers = clock, accounts, issuers or Issuers(clock)
        self.trust = trust
        # Who else judges tokens, if anybody does, and the names of front proxies whose word counts.
        self.reviewed: Reviewed | None = None
        self.front_proxies: frozenset[str] = frozenset()
        self.replace_tokens(tokens)

    def replace_tokens(self, tokens: Mapping[str, User]) -> None:
        """Let these tokens count from now on, and no other that is written down."""
        self._tokens = tuple((token.encode(), user) for token, user in tokens.items())

    def user(self, certificate: bytes | None, authorization: bytes = b"") -> User | None:
        """The user of a verified peer certificate (DER), else of a bearer token, else None."""
        if certificate is not None and (found := self._of_certificate(certificate)) is not None:
            return found
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            return self.review(token.strip())[0]
        except TokenError:
            return None

    def proxied(self, certificate: bytes | None, headers: Iterable[tuple[bytes, bytes]]) -> User | None:
        """Whom a front proxy speaks for, where its certificate lets it."""
        if certificate is None or not self.front_proxies or self.trust is None:
            return None
        peer = self.trust.peer(certificate)
        if peer is None or peer.authority != PROXY or peer.user.name not in self.front_proxies:
            return None
        return spoken_for(headers)

    async def consult(self, authorization: bytes) -> None:
        """Ask whoever else judges tokens about one that nothing here knows; before `user` is."""
        scheme, _, token = authorization.partition(b" ")
        if self.reviewed is not None and scheme.lower() == b"bearer":
            await self.consult_token(token.strip())

    async def consult_token(self, token: bytes) -> None:
        """The same of a token alone."""
        if self.reviewed is None:
            return
        try:
            self._reviewed_here(token, ())
        except TokenError:
            await self.reviewed.look(token)

    def review(self, token: bytes, audiences: Sequence[str] = ()) -> tuple[User, Sequence[str]]:
        """Who a bearer token stands for, and for which of these audiences (none given: the server's own).

        Raises `TokenError` for a token that proves nothing.
        """
        try:
            return self._reviewed_here(token, audiences)
        except TokenError:
            found = self.reviewed.user(token) if self.reviewed is not None else None
            if found is None:
                raise
            return self._for_us(found, audiences)

    def _reviewed_here(self, token: bytes, audiences: Sequence[str]) -> tuple[User, Sequence[str]]:
        """As `review`, of what is judged in this process."""
        found = self._of_token(token)
        if found is not None:
            own = self.accounts.audiences if self.accounts else ()
            # A token that is written down is good for the server itself.
            meant = [audience for audience in own if not audiences or audience in audiences]
            if own and not meant:
                raise TokenError(INVALID_TOKEN)
            return found, meant
        if self.accounts is not None and bootstraptokens.is_one(token):
            return self._for_us(bootstraptokens.user_of(token, self.accounts.look, self._clock), audiences)
        if self.accounts is None or token.count(b".") != 2:
            raise TokenError(INVALID_TOKEN)
        text = token.decode("latin-1")
        try:
            if self.issuers.issuers and self.issuers.of(text) is not None:
                return self._of_issuer(text, audiences)
            return self.accounts.user(text, audiences)
        except TokenError as error:
            raise TokenError(f"[{INVALID_TOKEN}, {error}]") from error

    def _of_issuer(self, token: str, audiences: Sequence[str]) -> tuple[User, Sequence[str]]:
        """What others' tokens are good for is this server, whatever audience they name."""
        user, _ = self.issuers.user(token)
        return self._for_us(user, audiences)

    def _for_us(self, user: User, audiences: Sequence[str]) -> tuple[User, Sequence[str]]:
        """A user by a token that is good for this server alone."""
        own = self.accounts.audiences if self.accounts else ()
        meant = [audience for audience in own if not audiences or audience in audiences]
        if not meant:
            raise TokenError("the token is for this server alone")
        return user, meant

    def _of_certificate(self, certificate: bytes) -> User | None:
        peer = None if self.trust is None else self.trust.peer(certificate)
        # The front proxy's own certificate names nobody: whom it speaks for stands in headers.
        return peer.user if peer is not None and peer.authority != PROXY else None

    def _of_token(self, token: bytes) -> User | None:
        found = None
        for known, user in self._tokens:
            # Every token is compared in full, so that the time taken says nothing about them.
            if hmac.compare_digest(known, token):
                found = user
        return found


def admin_tokens(token: str) -> Mapping[str, User]:
    """The tokens of a cluster that has one: its administrator's."""
    return {token: administrator()}


def administrator() -> User:
    """Who may everything, from the first start on."""
    return User(ADMIN_USER, (ADMIN_GROUP, AUTHENTICATED))


def impersonated(user: User, headers: list[tuple[bytes, bytes]], authorizer: Authorizer) -> User:
    """The user that the Impersonate-* headers name, if there are any and `user` may act as them.

    Raises `ForbiddenError` when it may not, `BadRequestError` for groups, uid or extras without a name.
    """
    # Nearly no request has any: the hot path is this one look at the names.
    given = [(name[len(_IMPERSONATE) :], value) for name, value in headers if name.startswith(_IMPERSONATE)]
    if not given:
        return user
    name, uid, groups, extra = _read(given)
    if not name:
        raise BadRequestError("impersonation without a user: Impersonate-User is missing")
    _ask(authorizer, user, _subject(user, name))
    for group in groups:
        _ask(authorizer, user, Question(user, "impersonate", resource="groups", name=group))
    if uid:
        _ask(authorizer, user, Question(user, "impersonate", "authentication.k8s.io", "uids", name=uid))
    for key, values in extra.items():
        for value in values:
            _ask(
                authorizer, user,
                Question(user, "impersonate", "authentication.k8s.io", "userextras", key, name=value),
            )  # fmt: skip
    return User(name, _with_standing(name, groups), uid, extra, impersonator=user.name)


def _read(given: list[tuple[bytes, bytes]]) -> tuple[str, str, tuple[str, ...], dict[str, tuple[str, ...]]]:
    name, uid = "", ""
    groups: list[str] = []
    extra: dict[str, tuple[str, ...]] = {}
    for header, raw in given:
        value = raw.decode("utf-8", "replace")
        if header == b"user":
            name = value
        elif header == b"uid":
            uid = value
        elif header == b"group":
            groups.append(value)
        elif header.startswith(b"extra-"):
            key = unquote(header[len(b"extra-") :].decode("latin-1"))
            extra[key] = (*extra.get(key, ()), value)
        else:
            raise BadRequestError(f"unknown header Impersonate-{header.decode('latin-1')}")
    return name, uid, tuple(groups), extra


def _subject(user: User, name: str) -> Question:
    """Whose name is put on: a service account is asked for as such."""
    if name.startswith(SERVICE_ACCOUNT_USER) and name.count(":") == 3:
        namespace, account = name.split(":")[2:]
        return Question(user, "impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    return Question(user, "impersonate", resource="users", name=name)


def _ask(authorizer: Authorizer, user: User, question: Question) -> None:
    verdict = authorizer.authorize(question)
    if not verdict.allowed:
        raise refusal(question, verdict)


def _with_standing(name: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that come with a name whoever puts it on."""
    added: tuple[str, ...] = ()
    if not groups and name.startswith(SERVICE_ACCOUNT_USER) and name.count(":") == 3:
        added = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{name.split(':')[2]}")
    standing = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
    return tuple(dict.fromkeys((*groups, *added, standing)))
