"""Tokens of other issuers: believed by their keys, made into users by mappings and rules, refused otherwise."""

import asyncio
from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml

from ksql.auth.authenticate import Authenticator
from ksql.auth.issuers import ConfigurationError, Issuers, read
from ksql.auth.tokens import TokenError, Tokens, make_key
from ksql.base.clock import SystemClock
from ksql.serve.issuing import Issuing, fetched
from tests.support import provider as providers
from tests.support.provider import Provider

HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}


def text(*entries: Any) -> str:
    return yaml.safe_dump({**HEAD, "jwt": list(entries)})


@pytest.fixture
def provider(tmp_path: Path):  # type: ignore[no-untyped-def]
    with providers.running(tmp_path) as provider:
        yield provider


def believing(provider: Provider, **more: Any) -> Issuers:
    issuers = Issuers(SystemClock(), read(text(provider.config(**more))))
    issuers.renewed(provider.url, jwt.PyJWKSet.from_dict(provider.key_set()))
    return issuers


def why_not(issuers: Issuers, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        issuers.user(token)
    return str(caught.value)


def test_a_claim_becomes_a_name_with_its_prefix(provider: Provider) -> None:
    user, audiences = believing(provider).user(provider.token(sub="ann", groups=["devs"]))
    assert (user.name, user.groups, audiences) == ("oidc:ann", ("system:authenticated",), ["ksql"])


def test_expressions_make_name_groups_uid_and_extras(provider: Provider) -> None:
    mappings = {
        "username": {"expression": "claims.email.split('@')[0]"},
        "groups": {"expression": "claims.roles.map(role, 'org:' + role)"},
        "uid": {"claim": "sub"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    }
    issuers = believing(provider, claimMappings=mappings)
    user, _ = issuers.user(provider.token(sub="7", email="ann@example.com", roles=["dev", "ops"], tenant="blue"))
    assert user.name == "ann" and user.groups == ("org:dev", "org:ops", "system:authenticated")
    assert user.uid == "7" and user.extra == {"example.com/tenant": ("blue",)}
    # A claim that an expression needs and that is not there makes no user.
    assert why_not(issuers, provider.token(sub="7")).startswith("oidc: ")


def test_rules_about_claims_and_users_must_hold(provider: Provider) -> None:
    rules = {
        "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"},
                                 {"expression": "claims.exp - claims.iat > 0", "message": "no time"}],
        "userValidationRules": [{"expression": "!user.username.endsWith('root')", "message": "not root"}],
    }  # fmt: skip
    issuers = believing(provider, **rules)
    assert issuers.user(provider.token(sub="ann", hd="example.com"))[0].name == "oidc:ann"
    assert "required claim hd" in why_not(issuers, provider.token(sub="ann", hd="example.org"))
    assert why_not(issuers, provider.token(sub="root", hd="example.com")).endswith("failed: not root")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "expired"), ({"nbf": providers.ENDS}, "not before"), ({"aud": "other"}, "none of the configured"),
        ({"sub": ""}, "no username"), ({"sub": 7}, ""), ({}, "no username"), ({"exp": "soon"}, ""),
    ],
)  # fmt: skip
def test_a_token_that_does_not_hold_is_refused(provider: Provider, claims: dict[str, Any], why: str) -> None:
    given = {"sub": "ann", **claims} if claims else {}
    assert why in why_not(believing(provider), provider.token(**given))


def test_nobody_elses_key_and_no_weaker_algorithm_signs(provider: Provider) -> None:
    issuers = believing(provider)
    good = provider.token(sub="ann")
    assert why_not(issuers, good[:-6] + "AAAAAA").startswith("oidc: verify token")
    said = {"iss": provider.url, "aud": "ksql", "exp": providers.ENDS, "sub": "ann"}
    weak = jwt.encode(said, "a secret of at least thirty-two bytes", "HS256", headers={"kid": "first"})
    bare = jwt.encode(said, None, "none", headers={"kid": "first"})
    for token in (weak, bare, "a.b.c", good.split(".")[0] + ".."):
        with pytest.raises(TokenError):
            issuers.user(token)
    provider.rotate("second")
    assert "no key of the issuer" in why_not(issuers, provider.token(sub="ann"))
    issuers.renewed(provider.url, jwt.PyJWKSet.from_dict(provider.key_set()))
    assert issuers.user(provider.token(sub="ann"))[0].name == "oidc:ann"
    # What was believed by the key that is gone is believed no more.
    assert "no key of the issuer" in why_not(issuers, good)


def test_the_clusters_own_names_are_not_given_by_others(provider: Provider) -> None:
    issuers = believing(provider, claimMappings={"username": {"claim": "sub", "prefix": ""}})
    for name in ("system:kube-scheduler", "system:serviceaccount:kube-system:x", "system:node:n1"):
        assert "reserved" in why_not(issuers, provider.token(sub=name))


def test_the_authenticator_tells_the_issuers_apart(provider: Provider) -> None:
    clock = SystemClock()
    accounts = Tokens(make_key(), clock, lambda *key: None)
    authenticator = Authenticator(clock, {}, accounts, believing(provider))
    user = authenticator.user(None, b"Bearer " + provider.token(sub="ann").encode())
    assert user is not None and user.name == "oidc:ann"
    assert authenticator.user(None, b"Bearer " + provider.token(sub="ann", iss="https://other").encode()) is None
    with pytest.raises(TokenError):
        authenticator.review(provider.token(sub="ann").encode(), ["vault"])


async def test_keys_are_fetched_by_discovery_from_whom_it_speaks_for(provider: Provider) -> None:
    (issuer,) = read(text(provider.config()))
    assert [key.key_id for key in (await fetched(issuer)).keys] == ["first"]
    provider.speaks_for = "https://mallory.example.com"
    with pytest.raises(ValueError, match="speaks for"):
        await fetched(issuer)
    (stranger,) = read(text({**provider.config(), "issuer": {"url": provider.url, "audiences": ["ksql"]}}))
    with pytest.raises(Exception, match="certificate"):
        await fetched(stranger)


async def test_a_changed_file_counts_without_a_restart_and_a_bad_one_does_not(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ksql.serve.issuing.LOOK_SECONDS", 0.05)
    file = tmp_path / "authentication.yaml"
    file.write_text(text(provider.config()))
    issuers = Issuers(SystemClock())
    issuing = Issuing(issuers, file, SystemClock())
    await issuing.start()

    async def until(name: str) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    if issuers.user(provider.token(sub="ann"))[0].name == name:
                        return
                except TokenError:
                    pass
                await asyncio.sleep(0.02)

    try:
        await until("oidc:ann")
        file.write_text("jwt: nonsense")
        await asyncio.sleep(0.2)
        await until("oidc:ann")
        other = provider.config(claimMappings={"username": {"claim": "sub", "prefix": "new:"}})
        file.write_text(text(other))
        await until("new:ann")
    finally:
        await issuing.aclose()


ISSUER = {"url": "https://id.example.com", "audiences": ["a"]}
NAME = {"username": {"claim": "sub", "prefix": ""}}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"issuer": {**ISSUER, "url": "http://x"}, "claimMappings": NAME}, "issuer.url: URL scheme must be https"),
        ({"issuer": {"url": "https://x"}, "claimMappings": NAME}, "jwt[0].issuer.audiences: at least one"),
        ({"issuer": {**ISSUER, "audiences": ["a", "b"]}, "claimMappings": NAME}, "must be MatchAny for multiple"),
        ({"issuer": ISSUER}, "jwt[0].claimMappings.username: claim or expression is required"),
        ({"issuer": ISSUER, "claimMappings": {"username": {"claim": "sub"}}}, "username.prefix: prefix is required"),
        ({"issuer": ISSUER, "claimMappings": {"username": {"expression": "claims.("}}}, "compilation failed"),
        ({"issuer": ISSUER, "claimMappings": {**NAME, "extra": [{"key": "k8s.io/x", "valueExpression": "''"}]}},
         "reserved"),
        ({"issuer": ISSUER, "claimMappings": NAME, "typo": 1}, "jwt[0].typo: this field is not known here"),
        ({"issuer": ISSUER, "claimMappings": NAME, "claimValidationRules": [{}]}, "claim or expression is required"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_by_its_field(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text(entry))
    assert why in str(caught.value)
    for bad in ("[", "kind: x", "apiVersion: apiserver.config.k8s.io/v1\nkind: Pod"):
        with pytest.raises(ConfigurationError):
            read(bad)
