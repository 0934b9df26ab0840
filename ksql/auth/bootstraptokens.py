"""Bootstrap tokens: secrets in kube-system that let a machine in which has nothing else yet, as kubeadm makes them.

A token is `id.secret`; the Secret `bootstrap-token-<id>` says whether it may authenticate, until when, and into
which groups beside `system:bootstrappers`. Nothing is remembered: a Secret that is deleted ends its token at once.
"""

import hmac
import re
from base64 import b64decode
from binascii import Error as Base64Error

from ksql.auth.identity import AUTHENTICATED, User
from ksql.auth.tokens import Look, TokenError
from ksql.base.clock import Clock, parse_rfc3339
from ksql.base.documents import Document

TYPE, NAMESPACE, PREFIX = "bootstrap.kubernetes.io/token", "kube-system", "bootstrap-token-"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(rb"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_REFUSED = "bootstrap token is not valid"


def is_one(token: bytes) -> bool:
    """Whether a bearer token has the form of a bootstrap token."""
    return _TOKEN.fullmatch(token) is not None


def user_of(token: bytes, look: Look, clock: Clock) -> User:
    """Whom a bootstrap token lets in; `TokenError` when its Secret does not."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise TokenError(_REFUSED)
    identity, secret = found.groups()
    name = identity.decode()
    document = look("secrets", NAMESPACE, PREFIX + name)
    if document is None or document.get("type") != TYPE or "deletionTimestamp" in document["metadata"]:
        raise TokenError(_REFUSED)
    data = _texts(document)
    is_right = hmac.compare_digest(data.get("token-secret", "").encode(), secret)
    if not is_right or data.get("token-id") != name or data.get("usage-bootstrap-authentication") != "true":
        raise TokenError(_REFUSED)
    if _is_over(data.get("expiration", ""), clock):
        raise TokenError("bootstrap token has expired")
    extra = [group for group in data.get("auth-extra-groups", "").split(",") if group]
    if not all(_EXTRA_GROUP.fullmatch(group) for group in extra):
        # A Secret must not be a way into any other group.
        raise TokenError(_REFUSED)
    return User(f"system:bootstrap:{name}", tuple(dict.fromkeys((GROUP, *sorted(extra), AUTHENTICATED))))


def _is_over(text: str, clock: Clock) -> bool:
    """Whether it ran out; one whose end cannot be read has."""
    if not text:
        return False
    try:
        return clock.now() >= parse_rfc3339(text)
    except ValueError:
        return True


def _texts(secret: Document) -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            out[key] = b64decode(value, validate=True).decode()
        except (Base64Error, UnicodeDecodeError, TypeError, ValueError):
            continue
    return out
