"""The commands that few use and that break unnoticed: reconcile, tokens, dumps, certificates, proxies, no metrics."""

import base64
import json
import re
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conformance.shell import SETTINGS, WEB, Shell

pytestmark = pytest.mark.kubectl

RULES = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NAME}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NAME}
subjects: [{kind: User, name: ann, apiGroup: rbac.authorization.k8s.io}]
"""


def test_rules_are_reconciled(kubectl: Shell) -> None:
    rules = RULES.replace("NAME", kubectl.namespace)
    made = kubectl("auth", "reconcile", "-f", "-", input=rules)
    assert f"clusterrole.rbac.authorization.k8s.io/{kubectl.namespace} reconciled" in made
    more = rules.replace("[get, list]", "[get, list, watch]")
    kubectl("auth", "reconcile", "-f", "-", input=more)
    role = kubectl.json("get", "clusterrole", kubectl.namespace)
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    for kind in ("clusterrole", "clusterrolebinding"):
        kubectl("delete", kind, kubectl.namespace)


def test_a_token_is_made_for_an_account_and_says_whose_it_is(kubectl: Shell) -> None:
    kubectl("create", "serviceaccount", "bot")
    token = kubectl("create", "token", "bot", "--duration=20m", "--audience=shop").strip()
    head, body, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert claims["sub"] == f"system:serviceaccount:{kubectl.namespace}:bot" and claims["aud"] == ["shop"]
    assert claims["exp"] - claims["iat"] == 1200
    assert "kid" in json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    refused = kubectl.refused("create", "token", "nobody")
    assert 'serviceaccounts "nobody" not found' in refused
    short = kubectl.refused("create", "token", "bot", "--duration=1m")
    assert "may not specify a duration less than 10 minutes" in short


def test_who_bears_an_accounts_token_is_that_account(kubectl: Shell) -> None:
    token = kubectl("create", "token", "default").strip()
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    asked = kubectl.run("auth", "whoami", "-o", "json", "--token", token, "--server", server)
    # A client certificate outranks a token, so the token is shown to the server by itself.
    assert json.loads(asked.stdout)["status"]["userInfo"]["username"]
    with httpx.Client(base_url=server, verify=False) as http:
        answer = http.get("/api/v1/pods", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    named = f"system:serviceaccount:{kubectl.namespace}:default"
    assert answer.json()["message"].startswith(f'pods is forbidden: User "{named}" cannot list resource "pods"')


def test_a_dump_holds_everything(kubectl: Shell, tmp_path: Path) -> None:
    kubectl.settled(WEB)
    kubectl("cluster-info", "dump", "--namespaces", kubectl.namespace, "--output-directory", str(tmp_path))
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"nodes.json", "pods.json", "deployments.json", "replicasets.json", "events.json", "logs.txt"} <= names
    pods = json.loads(next(tmp_path.rglob("pods.json")).read_text())
    assert len(pods["items"]) == 2


def test_a_drain_may_delete_instead_of_evicting(kubectl: Shell) -> None:
    alone = json.dumps({"spec": {"nodeName": "node-3"}})
    kubectl("run", "alone", "--image=x", "--overrides", alone, "--labels=drained=yes")
    try:
        drained = kubectl(
            "drain", "node-3", "--force", "--disable-eviction", "--pod-selector=drained=yes", "--timeout=60s"
        )
        assert f"deleting pod {kubectl.namespace}/alone" in drained or "pod/alone deleted" in drained
    finally:
        kubectl("uncordon", "node-3")


def signing_request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "ann"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "dev")]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    text = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    return json.dumps(
        {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": {"request": text, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
        }
    )


def test_a_request_for_a_certificate_is_approved_or_denied(kubectl: Shell) -> None:
    for verdict in ("approve", "deny"):
        name = f"{kubectl.namespace}-{verdict}"
        kubectl.apply(signing_request(name))
        (row,) = kubectl.rows("get", "csr", name)
        assert (row["SIGNERNAME"], row["CONDITION"]) == ("kubernetes.io/kube-apiserver-client", "Pending")
        done = "approved" if verdict == "approve" else "denied"
        assert kubectl("certificate", verdict, name) == f"certificatesigningrequest.certificates.k8s.io/{name} {done}\n"
        assert kubectl.rows("get", "csr", name)[0]["CONDITION"].startswith(done.capitalize())
        kubectl("delete", "csr", name)


def test_the_proxy_passes_on_what_is_asked(kubectl: Shell) -> None:
    kubectl.apply(SETTINGS)
    proxy = kubectl.kubectl.start("proxy", "--port=0")
    try:
        assert proxy.stdout is not None
        address = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())
        assert address is not None
        with httpx.Client(base_url=f"http://{address.group()}") as http:
            found = http.get(f"/api/v1/namespaces/{kubectl.namespace}/configmaps/settings").json()
            assert found["data"] == {"colour": "blue", "size": "large"}
            assert http.get("/healthz").text == "ok"
    finally:
        proxy.terminate()
        proxy.wait(timeout=10)


def test_what_has_no_last_configuration_is_set_one(kubectl: Shell) -> None:
    kubectl("create", "configmap", "settings", "--from-literal=a=b")
    assert kubectl("apply", "view-last-applied", "configmap/settings") == ""
    kubectl("apply", "set-last-applied", "--create-annotation", "-f", "-", input=SETTINGS)
    assert "colour: blue" in kubectl("apply", "view-last-applied", "configmap/settings")
