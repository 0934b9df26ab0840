"""Tokens over HTTP: the bearer is let in as the account, and others can check tokens for themselves."""

import httpx
import jwt

from ksql.auth.tokens import ISSUER
from tests.serve.cluster import BOB, Rooms, in_process

TOKENS = "/api/v1/namespaces/default/serviceaccounts/bot/token"


async def token_of(server: Rooms, http: httpx.AsyncClient) -> str:
    await server.make("serviceaccounts", {"metadata": {"name": "bot", "namespace": "default"}})
    answer = await http.post(TOKENS, json={"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"})
    assert answer.status_code == 201
    return str(answer.json()["status"]["token"])


async def test_an_account_is_known_by_its_token_and_may_nothing_yet(
    server: Rooms, http: httpx.AsyncClient
) -> None:
    token = await token_of(server, http)
    async with in_process(server.door, token) as account:
        who = await account.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json={})
        assert who.json()["status"]["userInfo"]["username"] == "system:serviceaccount:default:bot"
        answer = await account.get("/api/v1/namespaces/default/pods")
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            'pods is forbidden: User "system:serviceaccount:default:bot" cannot list resource "pods" '
            'in API group "" in the namespace "default"'
        )
    async with in_process(server.door, token + "x") as stranger:
        assert (await stranger.get("/api/v1/namespaces/default/pods")).status_code == 401


async def test_an_account_of_the_system_is_no_controller(server: Rooms, http: httpx.AsyncClient) -> None:
    await server.make("serviceaccounts", {"metadata": {"name": "default", "namespace": "kube-system"}})
    path = "/api/v1/namespaces/kube-system/serviceaccounts/default/token"
    token = (await http.post(path, json={})).json()["status"]["token"]
    async with in_process(server.door, token) as account:
        assert (await account.get("/api/v1/nodes")).status_code == 403


async def test_accounts_learn_how_to_check_tokens(server: Rooms, http: httpx.AsyncClient) -> None:
    token = await token_of(server, http)
    async with in_process(server.door, token) as account:
        answer = await account.get("/.well-known/openid-configuration")
        found = answer.json()
        assert found["issuer"] == ISSUER and found["jwks_uri"] == "https://ksql/openid/v1/jwks"
        assert answer.headers["cache-control"] == "public, max-age=3600"
        answer = await account.get("/openid/v1/jwks")
        assert answer.headers["content-type"] == "application/jwk-set+json"
    keys = jwt.PyJWKSet.from_dict(answer.json())
    algorithms = found["id_token_signing_alg_values_supported"]
    said = jwt.decode(token, keys.keys[0], algorithms, audience=ISSUER, issuer=ISSUER)
    assert said["sub"] == "system:serviceaccount:default:bot"
    async with in_process(server.door, BOB) as bob:
        answer = await bob.get("/openid/v1/jwks")
        assert answer.status_code == 403
        assert answer.json()["message"] == 'forbidden: User "bob" cannot get path "/openid/v1/jwks"'


async def test_component_statuses_are_asked_afresh(server: Rooms, http: httpx.AsyncClient) -> None:
    server.pipeline.components["scheduler"] = lambda: "not running: scheduler"
    found = (await http.get("/api/v1/componentstatuses")).json()
    conditions = {one["metadata"]["name"]: one["conditions"][0] for one in found["items"]}
    assert conditions["event-log"] == {"type": "Healthy", "status": "True", "message": "ok"}
    assert conditions["scheduler"]["status"] == "False"
    answer = await http.get("/api/v1/componentstatuses/scheduler")
    assert answer.json()["kind"] == "ComponentStatus"
    assert "ComponentStatus is deprecated" in answer.headers["warning"]
    answer = await http.get("/api/v1/componentstatuses/foo")
    assert (answer.status_code, answer.json()["message"]) == (404, 'componentstatus "foo" not found')
    assert (await http.get("/api/v1/componentstatuses?watch=1")).status_code == 405


async def test_a_binding_may_name_its_pod_in_the_body(server: Rooms, http: httpx.AsyncClient) -> None:
    await server.make(
        "pods",
        {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    )
    binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "node-1"}}
    answer = await http.post("/api/v1/namespaces/default/bindings", json=binding)
    assert (answer.status_code, answer.json()["status"]) == (201, "Success")
    pod = (await http.get("/api/v1/namespaces/default/pods/web")).json()
    assert pod["spec"]["nodeName"] == "node-1"
    answer = await http.post("/api/v1/namespaces/default/bindings", json={"target": {"name": "node-1"}})
    assert (answer.status_code, answer.json()["message"]) == (400, "Name parameter required.")
