"""Laws of the doors: whatever tokens and headers say, an answer comes, and nobody becomes somebody by accident."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksql.auth.authenticate import Authenticator, admin_tokens
from ksql.auth.tokens import Bound, TokenError, Tokens, make_key
from ksql.base.clock import SystemClock
from tests.serve.cluster import BOB, TOKEN, Rooms, in_process, rooms

CLOCK = SystemClock(seed=1)
ACCOUNT = {"metadata": {"name": "default", "namespace": "default", "uid": "u"}}
TOKENS = Tokens(make_key(), CLOCK, lambda resource, namespace, name: ACCOUNT)
SIGNED = TOKENS.sign(ACCOUNT, TOKENS.audiences, 3600, Bound())
FOUND = Authenticator(CLOCK, admin_tokens("secret"), TOKENS)


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_no_header_of_chance_is_a_user(header: bytes) -> None:
    for value in (header, b"Bearer " + header, b"bearer\t" + header, b"Basic " + header):
        assert FOUND.user(None, value) is None


@given(st.data())
def test_a_signed_token_with_any_character_changed_is_nobodys(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SIGNED) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != SIGNED[at]))
    changed = SIGNED[:at] + other + SIGNED[at + 1 :]
    # The last character of a signature has bits that say nothing.
    if changed.rstrip() == SIGNED or at == len(SIGNED) - 1:
        return
    assert FOUND.user(None, b"Bearer " + changed.encode()) is None


@given(st.lists(st.text(alphabet="abcXYZ019_-.=", max_size=40), min_size=1, max_size=5))
def test_what_looks_like_a_token_is_refused_in_words(parts: list[str]) -> None:
    with pytest.raises(TokenError):
        FOUND.review(".".join(parts).encode())


# --- the whole door ---

NAMES = st.sampled_from(
    [
        b"authorization", b"impersonate-user", b"impersonate-group", b"impersonate-uid", b"impersonate-extra-a%2fb",
        b"impersonate-extra-", b"impersonate-x", b"x-remote-user", b"x-remote-group", b"cookie", b"ksql-csrf",
        b"ksql-cause", b"accept", b"accept-encoding", b"content-type", b"user-agent", b"host", b"origin",
        b"x-forwarded-for", b"upgrade", b"connection", b"content-length", b"transfer-encoding", b"range", b"if-match",
    ]
)  # fmt: skip
WORDS = st.sampled_from(
    [
        b"", b"*", b"system:masters", b"kubernetes-admin", b"system:serviceaccount:a:b", b"system:serviceaccount:::",
        b"Bearer", b"Bearer x", b"Bearer a.b.c", b"application/json;q=0.x", b"application/json;as=Table;v=v9;g=x",
        b"gzip;q=-1", b"__Host-ksql-443=%00", b"-1", b"99999999999999999999", b"chunked", b"websocket", b"\xff\xfe",
    ]
)  # fmt: skip
HEADERS = st.lists(st.tuples(NAMES, WORDS | st.binary(max_size=60)), max_size=6)
PATHS = ("/api/v1/namespaces/default/configmaps", "/graphql", "/apis", "/metrics", "/at/r1/api/v1/pods", "/openapi/v2")


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[asyncio.AbstractEventLoop, Rooms]]:
    with asyncio.Runner() as runner:
        opened: Any = rooms()
        found = runner.run(opened.__aenter__())
        yield runner.get_loop(), found
        runner.run(opened.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None)
@given(headers=HEADERS, path=st.sampled_from(PATHS), token=st.sampled_from((None, BOB, TOKEN)))
def test_no_headers_break_a_door_or_open_it(
    door: tuple[asyncio.AbstractEventLoop, Rooms], headers: list[tuple[bytes, bytes]], path: str, token: str | None
) -> None:
    loop, found = door

    async def ask() -> int:
        async with in_process(found.door, token) as http:
            request = http.build_request("GET", path)
            request.headers = type(request.headers)([*request.headers.raw, *headers])
            return (await http.send(request)).status_code

    code = loop.run_until_complete(ask())
    assert code < 500 or code == 501
    if token is None:
        # No header of those names anybody who has proved nothing.
        assert code in (400, 401, 403, 404, 405, 406, 415, 421), code
