"""GraphQL's table of certificates, and the same as metrics."""

from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from ksql.auth import pki
from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import User
from ksql.auth.revocations import Revocations
from ksql.base.clock import SystemClock
from ksql.serve import keyfigures
from ksql.serve.custodian import Custodian
from ksql.serve.gql.app import graphql_app
from ksql.serve.metrics import _Gauges
from tests.serve.cluster import rooms
from tests.serve.gql_door import ADMIN, as_user

QUERY = "{ certificates { name state subject issuer serial notAfter authority renewedBy alarm } }"
BOB = User("bob", ("system:authenticated",))


@pytest.mark.parametrize("user", [ADMIN, BOB])
async def test_the_table_is_for_whoever_may_see_it(tmp_path: Path, user: User) -> None:
    async with rooms() as found:
        clock = found.clock
        keys = Custodian(tmp_path / "pki", "127.0.0.1", clock)
        alice = pki.issue_client(keys.keys.signing("clients"), "alice", (), clock)
        keys.trust.revoke(Revocations({"alice": clock.now()}))
        request = {
            "metadata": {"name": "alice"},
            "spec": {"signerName": "kubernetes.io/kube-apiserver-client"},
            "status": {"certificate": b64encode(alice.certificate).decode()},
        }
        entry = SimpleNamespace(document=request, stream=SimpleNamespace(name="alice"))
        objects: Any = SimpleNamespace(list=lambda key: [entry] if key.startswith("certificatesigning") else [])
        pipeline = SimpleNamespace(authorizer=AdminAuthorizer(), authenticator=SimpleNamespace(trust=keys.trust))
        app = graphql_app(pipeline, objects, found.log, found.catalogue, clock, keys=lambda: keys.keys)
        transport = httpx.ASGITransport(as_user(app, user))
        async with httpx.AsyncClient(transport=transport, base_url="http://ksql") as http:
            answer = (await http.post("/graphql", json={"query": QUERY})).json()
    if user is BOB:
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        return
    rows = {row["name"]: row for row in answer["data"]["certificates"]}
    assert list(rows)[:4] == ["clients-ca", "serving-ca", "nodes-ca", "front-proxy-ca"]
    assert rows["server"] | {"state": "good", "renewedBy": "ksql", "alarm": False} == rows["server"]
    assert rows["alice"]["state"] == "revoked" and rows["alice"]["subject"] == "CN=alice"
    assert "BEGIN" not in str(answer)


def test_the_ends_are_counted(tmp_path: Path) -> None:
    clock = SystemClock(seed=1)
    keys, registry = Custodian(tmp_path / "pki", "127.0.0.1", clock), CollectorRegistry()
    registry.register(_Gauges(lambda: keyfigures.figures(keys, clock)))
    text = generate_latest(registry).decode()
    name = "ksql_certificate_expiration_timestamp_seconds"
    assert f'{name}{{kind="leaf",name="server",renewed_by="ksql"}} {keys.keys.server.ends.timestamp():.1f}'[:70] in text
    assert text.count(f"{name}{{") == 7 and "ksql_certificates_alarming 0.0" in text
