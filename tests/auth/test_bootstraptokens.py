"""A bootstrap token lets in whom its Secret says, as long as the Secret says it."""

from base64 import b64encode
from typing import Any

import pytest

from ksql.auth.authenticate import Authenticator
from ksql.auth.identity import User
from ksql.auth.tokens import Tokens, make_key
from ksql.base.clock import SystemClock
from ksql.base.documents import Document

TOKEN = b"Bearer abc123.0123456789abcdef"
DATA = {
    "token-id": "abc123", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
    "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
}  # fmt: skip


def secret(type: str = "bootstrap.kubernetes.io/token", metadata: Document | None = None, **data: str) -> Document:
    given = {**DATA, **{key.replace("_", "-"): value for key, value in data.items()}}
    kept = {key: b64encode(value.encode()).decode() for key, value in given.items()}
    return {"metadata": {"name": "bootstrap-token-abc123", **(metadata or {})}, "type": type, "data": kept}


def asked(kept: Document | None, token: bytes = TOKEN) -> User | None:
    clock = SystemClock()
    place = ("secrets", "kube-system", "bootstrap-token-abc123")
    accounts = Tokens(make_key(), clock, lambda *key: kept if key == place else None)
    return Authenticator(clock, {}, accounts).user(None, token)


def test_the_secret_says_who_comes_in() -> None:
    user = asked(secret())
    assert user is not None and user.name == "system:bootstrap:abc123"
    assert user.groups == (
        "system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated",
    )  # fmt: skip
    assert asked(secret(expiration="2999-01-01T00:00:00Z")) is not None


@pytest.mark.parametrize(
    "kept",
    [
        None, secret(type="Opaque"), secret(token_secret="0123456789abcdee"), secret(token_id="other1"),
        secret(usage_bootstrap_authentication="yes"), secret(expiration="2000-01-01T00:00:00Z"),
        secret(expiration="soon"), secret(auth_extra_groups="system:masters"),
        secret(metadata={"deletionTimestamp": "2020-01-01T00:00:00Z"}),
        {"metadata": {"name": "x"}, "type": "bootstrap.kubernetes.io/token", "data": {"token-secret": "%%%"}},
        {"metadata": {"name": "x"}, "type": "bootstrap.kubernetes.io/token"},
    ],
)  # fmt: skip
def test_anything_amiss_lets_nobody_in(kept: Any) -> None:
    assert asked(kept) is None


@pytest.mark.parametrize("token", [b"abc123.0123456789abcdeF", b"abc123.short", b"ABC123.0123456789abcdef", b"abc123."])
def test_what_has_not_its_form_is_no_bootstrap_token(token: bytes) -> None:
    assert asked(secret(), b"Bearer " + token) is None
