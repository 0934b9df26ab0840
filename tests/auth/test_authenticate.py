"""Who asks is proved by a certificate or a token; another's name is put on only with leave."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ksql.auth import pki
from ksql.auth.authenticate import Authenticator, admin_tokens, impersonated
from ksql.auth.authorize import AdminAuthorizer, is_component
from ksql.auth.identity import User
from ksql.auth.trust import Trust
from ksql.base.clock import SystemClock
from ksql.schema.errors import BadRequestError, ForbiddenError


class At(SystemClock):
    def __init__(self) -> None:
        super().__init__(seed=1)
        self.instant = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self):
        return self.instant


CLOCK = At()
AUTHORITY = pki.make_authority(CLOCK)
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


def der(user, groups):
    pair = pki.issue_client(AUTHORITY, user, groups, CLOCK)
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def trusting(clock=CLOCK):
    return Trust(clock, {"clients": [AUTHORITY.certificate]})


def authenticator():
    return Authenticator(CLOCK, admin_tokens("secret"), trust=trusting())


def test_a_certificate_names_the_user_and_the_groups():
    user = authenticator().user(der("alice", ("dev", "ops")))
    assert user == User("alice", ("dev", "ops", "system:authenticated"))


def test_a_certificate_that_ran_out_proves_nothing_even_when_it_was_seen_before():
    clock = At()
    found, certificate = Authenticator(clock, {}, trust=trusting(clock)), der("alice", ())
    assert found.user(certificate) is not None
    clock.instant += timedelta(days=366)
    assert found.user(certificate) is None
    clock.instant -= timedelta(days=400)
    assert found.user(certificate) is None


def test_a_token_stands_for_its_user():
    assert authenticator().user(None, b"Bearer secret") == ADMIN
    assert authenticator().user(None, b"bearer  secret ") == ADMIN


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Bearer other", b"Basic secret", b"\xff\xfe"]
)
def test_what_is_no_known_token_proves_nothing(header):
    assert authenticator().user(None, header) is None


def test_a_certificate_counts_before_a_token():
    assert authenticator().user(der("alice", ()), b"Bearer wrong").name == "alice"


def test_without_trust_no_certificate_proves_anything():
    assert Authenticator(CLOCK, {}).user(der("alice", ())) is None


def put_on(user, *headers):
    given = [(f"impersonate-{name}".encode(), value.encode()) for name, value in headers]
    return impersonated(user, given, AdminAuthorizer())


def test_an_administrator_acts_as_another_and_is_named_beside():
    groups = (("group", "dev"), ("group", "ops"))
    user = put_on(ADMIN, ("user", "bob"), *groups, ("uid", "7"), ("extra-a%2fb", "c"))
    assert user == User(
        "bob", ("dev", "ops", "system:authenticated"), "7", {"a/b": ("c",)}, impersonator="kubernetes-admin"
    )


def test_nobody_else_does():
    with pytest.raises(ForbiddenError) as refused:
        put_on(User("bob"), ("user", "alice"))
    assert refused.value.message == (
        'users "alice" is forbidden: User "bob" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )


def test_a_service_account_put_on_has_its_groups():
    user = put_on(ADMIN, ("user", "system:serviceaccount:shop:web"))
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")


def test_nobody_put_on_is_not_authenticated():
    assert put_on(ADMIN, ("user", "system:anonymous")).groups == ("system:unauthenticated",)


@pytest.mark.parametrize(
    "headers",
    [[("group", "x")], [("extra-a", "x")], [("user", "")], [("uid", "1")], [("user", "a"), ("hat", "x")]],
)
def test_half_a_name_is_refused(headers):
    with pytest.raises(BadRequestError):
        put_on(ADMIN, *headers)


def test_a_component_put_on_is_none():
    user = put_on(ADMIN, ("user", "system:node:a"), ("group", "system:nodes"))
    assert not is_component(user)
