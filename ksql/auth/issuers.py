"""Tokens of other issuers (OpenID Connect): whom they stand for, by an AuthenticationConfiguration file.

An issuer's keys are fetched beside everything else (`ksql/serve/issuing.py`) and kept here; believing a token reads
memory alone. What a token claims becomes a user by mappings, a claim or an expression each, and passes the
rules about claims and about the user. Whatever is wrong ends in `TokenError`, never in a user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
import yaml

from ksql.auth.identity import AUTHENTICATED, User
from ksql.auth.tokens import LEEWAY_SECONDS, TokenError
from ksql.base.clock import Clock
from ksql.base.documents import Document, lookup
from ksql.schema.cel.claims import Program
from ksql.schema.cel.programs import CompilationError, EvaluationError

GROUP = "apiserver.config.k8s.io"
VERSIONS = ("v1", "v1beta1")
# Asymmetric alone: a shared secret would let the issuer's every client make tokens.
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
# Tokens that were believed once are not verified anew as long as they last; beyond this many the oldest are.
TOKENS_MAX = 4096
# As kube-apiserver has it.
ISSUERS_MAX = 64
_RESERVED = ("k8s.io", "kubernetes.io")

Claims = Mapping[str, Any]


class ConfigurationError(ValueError):
    """The file cannot be used; the message names the field."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one attribute comes from: a claim with something before it, or an expression."""

    claim: str = ""
    prefix: str = ""
    program: Program | None = None

    def read(self, claims: Claims) -> Any:
        return claims.get(self.claim) if self.program is None else self.program.run("claims", claims)


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold: an expression, or that a claim has a value."""

    message: str
    program: Program | None = None
    claim: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One entry of the file."""

    url: str
    discovery: str
    authority: str
    audiences: tuple[str, ...]
    username: Source
    groups: Source | None = None
    uid: Source | None = None
    extra: tuple[tuple[str, Program], ...] = ()
    claim_rules: tuple[Rule, ...] = ()
    user_rules: tuple[Rule, ...] = ()


@dataclass(slots=True)
class Issuers:
    """Who believes tokens of other issuers. `keys` are put here by whoever fetches them."""

    clock: Clock
    issuers: tuple[Issuer, ...] = ()
    keys: dict[str, jwt.PyJWKSet] = field(default_factory=dict)
    # Issuers of whom a token named a key that is not here: they may have a new one.
    wanted: set[str] = field(default_factory=set)
    _known: dict[str, tuple[User, Sequence[str], float]] = field(default_factory=dict)

    def replace(self, issuers: tuple[Issuer, ...]) -> None:
        """Another file counts from now on: nobody is believed for what the old one said."""
        self.issuers = issuers
        self._known.clear()

    def renewed(self, url: str, keys: jwt.PyJWKSet) -> None:
        """The issuer's keys as they are now. A token of a key that is gone is believed no more."""
        self.keys[url] = keys
        self._known.clear()

    def of(self, token: str) -> Issuer | None:
        """Whose token this says it is."""
        try:
            claimed = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except jwt.PyJWTError:
            return None
        return next((issuer for issuer in self.issuers if issuer.url == claimed), None)

    def user(self, token: str) -> tuple[User, Sequence[str]]:
        """Who the token stands for, and for which audiences; `TokenError` when it proves nothing."""
        now = self.clock.now().timestamp()
        known = self._known.get(token)
        if known is not None and now <= known[2]:
            return known[0], known[1]
        issuer = self.of(token)
        if issuer is None:
            raise TokenError("no issuer of that name is configured")
        claims = self._claims(issuer, token, now)
        meant = [each for each in _texts(claims.get("aud")) if each in issuer.audiences]
        if not meant:
            raise TokenError("oidc: verify token: the token is for none of the configured audiences")
        try:
            user = user_of(issuer, claims)
        except EvaluationError as error:
            raise TokenError(f"oidc: {error}") from None
        if len(self._known) >= TOKENS_MAX:
            del self._known[next(iter(self._known))]
        self._known[token] = (user, meant, float(claims["exp"]))
        return user, meant

    def _claims(self, issuer: Issuer, token: str, now: float) -> Claims:
        keys = self.keys.get(issuer.url)
        if keys is None:
            raise TokenError("oidc: authenticator not initialized")
        try:
            key = _key_of(keys, jwt.get_unverified_header(token))
            if key is None:
                self.wanted.add(issuer.url)
                raise TokenError("oidc: verify token: no key of the issuer signed it")
            claims: Claims = jwt.decode(
                token, key.key, list(ALGORITHMS), issuer=issuer.url,
                options={
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
                    "require": ["exp", "iss", "aud"],
                },
            )  # fmt: skip
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise TokenError(f"oidc: verify token: {error}") from None
        begins, ends = claims.get("nbf", 0), claims["exp"]
        if not isinstance(ends, int | float) or now > ends:
            raise TokenError("oidc: verify token: oidc: token is expired")
        if not isinstance(begins, int | float) or now + LEEWAY_SECONDS < begins:
            raise TokenError("oidc: verify token: oidc: current time before the nbf (not before) time")
        return claims


def _key_of(keys: jwt.PyJWKSet, header: Mapping[str, Any]) -> jwt.PyJWK | None:
    """The key that a token names; the only one when it names none."""
    usable = [key for key in keys.keys if key.public_key_use in (None, "sig")]
    named = [key for key in usable if key.key_id == header.get("kid")]
    found = named or (usable if "kid" not in header else [])
    return found[0] if len(found) == 1 else None


# --- from claims to a user


def user_of(issuer: Issuer, claims: Claims) -> User:
    """The user that claims stand for; `TokenError` when a rule or a mapping does not let it be one."""
    for rule in issuer.claim_rules:
        _hold(rule, "claims", claims)
    name = issuer.username.read(claims)
    if not isinstance(name, str) or not name:
        raise TokenError(f"oidc: no username: claim or expression gives {name!r}")
    if issuer.username.claim == "email" and claims.get("email_verified", True) is not True:
        raise TokenError("oidc: email not verified")
    groups: tuple[str, ...] = ()
    if issuer.groups is not None:
        groups = tuple(issuer.groups.prefix + each for each in _texts(issuer.groups.read(claims)))
    uid = issuer.uid.read(claims) if issuer.uid is not None else ""
    extra = {key: values for key, program in issuer.extra if (values := _texts(program.run("claims", claims)))}
    user = User(
        issuer.username.prefix + name, tuple(dict.fromkeys((*groups, AUTHENTICATED))), str(uid or ""), extra
    )
    told = {
        "username": user.name, "uid": user.uid, "groups": list(groups),
        "extra": {key: list(values) for key, values in extra.items()},
    }  # fmt: skip
    for rule in issuer.user_rules:
        _hold(rule, "user", told)
    if user.name.startswith("system:"):
        # Kubernetes keeps these names for itself but lets an issuer give them; here components are known by them.
        raise TokenError("oidc: the name is reserved for the cluster's own users")
    return user


def _hold(rule: Rule, name: str, facts: Claims) -> None:
    if rule.program is None:
        if facts.get(rule.claim) != rule.value:
            raise TokenError(f"oidc: required claim {rule.claim} value does not match")
    elif rule.program.run(name, facts) is not True:
        raise TokenError(f"oidc: validation expression '{rule.program.text}' failed: {rule.message}")


def _texts(value: Any) -> tuple[str, ...]:
    """A text or a list of texts; anything else stands for none."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(each for each in value if isinstance(each, str) and each) if isinstance(value, list | tuple) else ()


# --- reading the file


def read(text: str) -> tuple[Issuer, ...]:
    """The issuers of an AuthenticationConfiguration; `ConfigurationError` names the first field that cannot be."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error).replace("\n", " ")) from None
    group, _, version = str(lookup(document, "apiVersion", default="")).partition("/")
    if not isinstance(document, dict) or group != GROUP or version not in VERSIONS:
        raise ConfigurationError(f"apiVersion: expected {GROUP}/v1")
    if document.get("kind") != "AuthenticationConfiguration":
        raise ConfigurationError("kind: expected AuthenticationConfiguration")
    _refuse_unknown(document, ("apiVersion", "kind", "jwt"), "")
    entries = document.get("jwt") or []
    if not isinstance(entries, list) or len(entries) > ISSUERS_MAX:
        raise ConfigurationError(f"jwt: expected a list of {ISSUERS_MAX} at most")
    issuers = tuple(_issuer(entry, f"jwt[{number}]") for number, entry in enumerate(entries))
    for number, issuer in enumerate(issuers):
        if any(issuer.url == other.url for other in issuers[:number]):
            raise ConfigurationError(f"jwt[{number}].issuer.url: {issuer.url!r} is there twice")
    return issuers


def _refuse_unknown(document: Any, fields: Sequence[str], path: str) -> None:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path or 'the file'}: expected an object")
    for name in document:
        if name not in fields:
            raise ConfigurationError(f"{path}{'.' if path else ''}{name}: this field is not known here")


_ENTRY = ("issuer", "claimMappings", "claimValidationRules", "userValidationRules")
_ISSUER = ("url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy")


def _issuer(entry: Any, path: str) -> Issuer:
    _refuse_unknown(entry, _ENTRY, path)
    given = entry.get("issuer") or {}
    _refuse_unknown(given, _ISSUER, f"{path}.issuer")
    url = _url(given.get("url"), f"{path}.issuer.url")
    discovery = given.get("discoveryURL") or ""
    if discovery:
        _url(discovery, f"{path}.issuer.discoveryURL")
    audiences = given.get("audiences") or []
    if not audiences or not all(isinstance(each, str) and each for each in audiences):
        raise ConfigurationError(f"{path}.issuer.audiences: at least one audience is required")
    if len(audiences) > 1 and given.get("audienceMatchPolicy") != "MatchAny":
        raise ConfigurationError(
            f"{path}.issuer.audienceMatchPolicy: audienceMatchPolicy must be MatchAny for multiple audiences"
        )
    mappings = entry.get("claimMappings") or {}
    _refuse_unknown(mappings, ("username", "groups", "uid", "extra"), f"{path}.claimMappings")
    at = f"{path}.claimMappings"
    username = _mapping(mappings.get("username"), f"{at}.username", needs_prefix=True)
    if username is None:
        raise ConfigurationError(f"{at}.username: claim or expression is required")
    return Issuer(
        url, discovery, given.get("certificateAuthority") or "", tuple(audiences), username,
        _mapping(mappings.get("groups"), f"{at}.groups", needs_prefix=True),
        _mapping(mappings.get("uid"), f"{at}.uid", needs_prefix=False),
        tuple(_extra(each, f"{at}.extra[{n}]") for n, each in enumerate(mappings.get("extra") or ())),
        tuple(_rule(each, f"{path}.claimValidationRules[{n}]") for n, each in _numbered(entry, "claimValidationRules")),
        tuple(_rule(each, f"{path}.userValidationRules[{n}]") for n, each in _numbered(entry, "userValidationRules")),
    )  # fmt: skip


def _numbered(entry: Document, field: str) -> Sequence[tuple[int, Any]]:
    return tuple(enumerate(entry.get(field) or ()))


def _url(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.startswith("https://"):
        raise ConfigurationError(f"{path}: URL scheme must be https")
    if "@" in value.split("/")[2] or "?" in value or "#" in value:
        raise ConfigurationError(f"{path}: URL must not contain a username, password, query or fragment")
    return value


def _mapping(given: Any, path: str, *, needs_prefix: bool) -> Source | None:
    if not given:
        return None
    _refuse_unknown(given, ("claim", "prefix", "expression") if needs_prefix else ("claim", "expression"), path)
    claim, expression = given.get("claim") or "", given.get("expression") or ""
    if claim and expression:
        raise ConfigurationError(f"{path}: claim and expression can't both be set")
    if not claim and not expression:
        raise ConfigurationError(f"{path}: claim or expression is required")
    if expression:
        if given.get("prefix") is not None:
            raise ConfigurationError(f"{path}.prefix: may not be specified when expression is set")
        return Source(program=_compiled(expression, f"{path}.expression"))
    if needs_prefix and given.get("prefix") is None:
        told = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
        raise ConfigurationError(f"{path}.prefix: {told}")
    return Source(claim, given.get("prefix") or "")


def _extra(given: Any, path: str) -> tuple[str, Program]:
    _refuse_unknown(given, ("key", "valueExpression"), path)
    key = given.get("key") or ""
    domain = key.partition("/")[0]
    if not key or key != key.lower() or "/" not in key:
        raise ConfigurationError(f"{path}.key: expected a lower-case path under a domain")
    if any(domain == each or domain.endswith(f".{each}") for each in _RESERVED):
        raise ConfigurationError(
            f"{path}.key: k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
        )
    return key, _compiled(given.get("valueExpression") or "", f"{path}.valueExpression")


def _rule(given: Any, path: str) -> Rule:
    _refuse_unknown(given, ("claim", "requiredValue", "expression", "message"), path)
    claim, expression = given.get("claim") or "", given.get("expression") or ""
    if bool(claim) == bool(expression):
        told = "claim and expression can't both be set" if claim else "claim or expression is required"
        raise ConfigurationError(f"{path}: {told}")
    if claim:
        return Rule("", None, claim, given.get("requiredValue") or "")
    return Rule(given.get("message") or "", _compiled(expression, f"{path}.expression"))


def _compiled(expression: str, path: str) -> Program:
    try:
        return Program(expression)
    except CompilationError as error:
        raise ConfigurationError(f"{path}: compilation failed: {str(error).splitlines()[0]}") from None


