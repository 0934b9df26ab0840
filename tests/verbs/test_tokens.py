"""Tokens of service accounts: who gets one, what it says, and when it stops being good."""

import asyncio
from typing import Any

import jwt
import pytest
from jwt.algorithms import ECAlgorithm

from ksql.auth.tokens import ALGORITHM, ISSUER
from ksql.base.clock import from_microseconds, rfc3339
from ksql.base.documents import Document
from ksql.schema.errors import ApiError, BadRequestError, ConflictError, InvalidError, NotFoundError
from tests.verbs.room import Room, inside, pod

REVIEWS = "tokenreviews.authentication.k8s.io"


async def bot(room: Room, name: str = "bot") -> Document:
    return await room.create("serviceaccounts", {"metadata": {"name": name, "namespace": "shop"}})


async def ask(room: Room, spec: Document | None = None, account: str = "bot", **metadata: Any) -> Document:
    before = room.objects.revision
    body = {"metadata": metadata, "spec": spec or {}}
    made = await room.perform("create", "serviceaccounts", "shop", account, subresource="token", body=body)
    assert made.created and made.document is not None
    assert room.objects.revision == before, "a token is kept nowhere"
    return made.document


async def review(room: Room, token: str, *audiences: str) -> Document:
    body = {"spec": {"token": token, "audiences": list(audiences)}}
    made = await room.perform("create", REVIEWS, body=body)
    assert made.document is not None
    return made.document["status"]


def claims(room: Room, token: str) -> Document:
    """What anybody reads in it with the published keys."""
    accounts = room.pipeline.authenticator.accounts
    assert accounts is not None
    (key,) = accounts.keys()["keys"]
    assert jwt.get_unverified_header(token) == {"alg": ALGORITHM, "kid": key["kid"], "typ": "JWT"}
    # The room's time is its own.
    passing = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    return jwt.decode(token, ECAlgorithm.from_jwk(key), [ALGORITHM], passing)


async def test_a_token_says_whose_it_is_and_for_how_long(room: Room) -> None:
    account = await bot(room)
    answer = await ask(room)
    said = claims(room, answer["status"]["token"])
    now = int(room.clock.now().timestamp())
    assert said.pop("jti")
    assert said == {
        "aud": [ISSUER], "iss": ISSUER, "sub": "system:serviceaccount:shop:bot",
        "exp": now + 3600, "iat": now, "nbf": now,
        "kubernetes.io": {
            "namespace": "shop", "serviceaccount": {"name": "bot", "uid": account["metadata"]["uid"]},
        },
    }  # fmt: skip
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 3600, "boundObjectRef": None}
    assert answer["metadata"]["uid"] == account["metadata"]["uid"]
    assert answer["status"]["expirationTimestamp"] == rfc3339(from_microseconds((now + 3600) * 1_000_000))


async def test_a_review_tells_who_stands_behind_a_token(room: Room) -> None:
    account = await bot(room)
    token = (await ask(room))["status"]["token"]
    status = await review(room, token)
    assert status == {
        "authenticated": True,
        "user": {
            "username": "system:serviceaccount:shop:bot",
            "uid": account["metadata"]["uid"],
            "groups": ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
            "extra": {
                "authentication.kubernetes.io/credential-id": [f"JTI={claims(room, token)['jti']}"],
            },
        },
        "audiences": [ISSUER],
    }
    assert (await review(room, token, "vault", ISSUER))["audiences"] == [ISSUER]


async def test_a_token_for_others_is_none_for_us(room: Room) -> None:
    await bot(room)
    token = (await ask(room, {"audiences": ["vault"]}))["status"]["token"]
    assert (await review(room, token, "vault"))["authenticated"] is True
    assert await review(room, token) == {
        "user": {},
        "error": f'[invalid bearer token, token audiences ["vault"] is invalid for the target audiences ["{ISSUER}"]]',
    }


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "ü", "..", "x" * 9000])
async def test_what_is_no_token_proves_nothing(room: Room, token: str) -> None:
    status = await review(room, token)
    assert "authenticated" not in status and "invalid bearer token" in status["error"]


async def test_a_token_that_was_changed_or_signed_by_another_proves_nothing(room: Room) -> None:
    await bot(room)
    token = (await ask(room))["status"]["token"]
    head, payload, signature = token.split(".")
    assert "authenticated" not in await review(room, f"{head}.{payload}.{signature[::-1]}")
    unsigned = jwt.encode(claims(room, token), None, "none")
    assert "authenticated" not in await review(room, unsigned)
    with pytest.raises(BadRequestError, match="token is required for TokenReview in authentication"):
        await review(room, "")


def test_a_token_ends_when_it_said() -> None:
    async def story(room: Room) -> None:
        await bot(room)
        token = (await ask(room, {"expirationSeconds": 600}))["status"]["token"]
        await asyncio.sleep(650)
        # Machines disagree about the time; a minute more is granted.
        assert (await review(room, token))["authenticated"] is True
        await asyncio.sleep(11)
        assert "has expired" in (await review(room, token))["error"]

    inside(story)


async def test_a_token_lives_no_longer_than_its_account_and_its_pod(room: Room) -> None:
    await bot(room)
    made = pod()
    made["spec"]["serviceAccountName"] = "bot"
    made = await room.create("pods", made)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "web-1", "uid": made["metadata"]["uid"]}
    token = (await ask(room, {"boundObjectRef": reference}))["status"]["token"]
    extra = (await review(room, token))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["web-1"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [made["metadata"]["uid"]]
    await room.delete("pods", "shop", "web-1", grace_period_seconds=0)
    assert "service account token has been invalidated" in (await review(room, token))["error"]

    token = (await ask(room))["status"]["token"]
    await room.delete("serviceaccounts", "shop", "bot")
    assert 'serviceaccounts "bot" not found' in (await review(room, token))["error"]
    await bot(room)
    assert "does not match claim" in (await review(room, token))["error"]


async def test_a_pods_token_names_its_node_and_is_extended_for_old_programs(room: Room) -> None:
    await bot(room)
    node = await room.create("nodes", {"metadata": {"name": "node-1"}})
    made = pod(node="node-1")
    made["spec"]["serviceAccountName"] = "bot"
    await room.create("pods", made)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "web-1"}
    answer = await ask(room, {"boundObjectRef": reference, "expirationSeconds": 3607})
    said = claims(room, answer["status"]["token"])
    assert said["kubernetes.io"]["node"] == {"name": "node-1", "uid": node["metadata"]["uid"]}
    assert said["exp"] - said["iat"] == 365 * 24 * 3600
    assert said["kubernetes.io"]["warnafter"] - said["iat"] == 3607


@pytest.mark.parametrize(
    ("spec", "metadata", "error", "words"),
    [
        ({"expirationSeconds": 599}, {}, InvalidError, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 2**32 + 1}, {}, InvalidError, "may not specify a duration larger than 2^32 seconds"),
        ({}, {"name": "other"}, InvalidError, "must match the service account name if specified"),
        ({}, {"namespace": "other"}, InvalidError, "must match the service account namespace if specified"),
        ({}, {"uid": "other"}, ConflictError, "the UID in the token request (other) does not match the UID of"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "x"}}, {}, NotFoundError, 'pods "x" not found'),
        (
            {"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}}, {},
            BadRequestError, "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web-1"}}, {},
            BadRequestError, 'cannot bind token for serviceaccount "bot" to pod running with different',
        ),
        (
            {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "key", "uid": "old"}}, {},
            ConflictError, "the UID in the bound object reference (old) does not match the UID in record.",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_had_is_refused(
    room: Room, spec: Document, metadata: Document, error: type[ApiError], words: str
) -> None:
    await bot(room)
    await room.create("pods", pod())
    await room.create("secrets", {"metadata": {"name": "key", "namespace": "shop"}})
    with pytest.raises(error) as refusal:
        await ask(room, spec, **metadata)
    assert words in refusal.value.message


async def test_nobody_gets_a_token_of_an_account_that_is_not_there(room: Room) -> None:
    with pytest.raises(NotFoundError, match='serviceaccounts "bot" not found'):
        await ask(room)
