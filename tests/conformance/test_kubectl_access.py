"""Tokens, certificates and questions of permission, and every kind's table, through the newest kubectl."""

import base64
import json
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ksql.schema import catalogue
from tests.conformance import coverage
from tests.conformance.shell import Shell

pytestmark = pytest.mark.kubectl


def claims(token: str) -> dict[str, Any]:
    payload = token.strip().split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_a_token_is_made_for_an_account_and_lets_its_bearer_in(kubectl: Shell) -> None:
    kubectl("create", "serviceaccount", "bot")
    token = kubectl("create", "token", "bot", "--duration=15m", "--audience=vault").strip()
    said = claims(token)
    assert said["aud"] == ["vault"] and said["exp"] - said["iat"] == 900
    assert said["sub"] == f"system:serviceaccount:{kubectl.namespace}:bot"
    own = kubectl("create", "token", "bot").strip()
    # With the administrator's certificate out of the way, the token is all there is to go by.
    bare = ("--kubeconfig=/dev/null", *connection(kubectl), f"--token={own}")
    assert f"system:serviceaccount:{kubectl.namespace}:bot" in kubectl(*bare, "auth", "whoami")
    refused = kubectl.refused(*bare, "get", "pods")
    assert f'User "system:serviceaccount:{kubectl.namespace}:bot" cannot list resource "pods"' in refused
    stranger = kubectl.refused("--kubeconfig=/dev/null", *connection(kubectl), f"--token={token}", "get", "pods")
    assert "Unauthorized" in stranger or "must be logged in" in stranger


def connection(kubectl: Shell) -> tuple[str, str]:
    """The server's address and nothing else of the configuration."""
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    return f"--server={config['clusters'][0]['cluster']['server']}", "--insecure-skip-tls-verify"


def test_a_token_is_bound_to_a_pod_and_refused_for_less_than_ten_minutes(kubectl: Shell) -> None:
    kubectl("run", "web", "--image=example.com/web:1")
    uid = kubectl("get", "pod", "web", "-o", "jsonpath={.metadata.uid}")
    bound = ("--bound-object-kind=Pod", "--bound-object-name=web", f"--bound-object-uid={uid}")
    kubectl.until(lambda: kubectl.run("get", "serviceaccount", "default", check=False).returncode == 0)
    said = claims(kubectl("create", "token", "default", *bound))["kubernetes.io"]
    assert said["pod"] == {"name": "web", "uid": uid}
    words = kubectl.refused("create", "token", "default", "--duration=5m")
    assert "spec.expirationSeconds: Invalid value: 300: may not specify a duration less than 10 minutes" in words
    assert 'serviceaccounts "nobody" not found' in kubectl.refused("create", "token", "nobody")


def signing_request(name: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": "example.com/people", "usages": ["client auth"], "expirationSeconds": 3600}
    head = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return yaml.safe_dump({**head, "metadata": {"name": name}, "spec": spec})


def test_certificates_are_asked_for_approved_and_denied(kubectl: Shell) -> None:
    names = {who: f"{who}-{kubectl.namespace}" for who in ("bob", "mallory")}
    for name in names.values():
        kubectl.apply(signing_request(name))
    (row,) = [row for row in kubectl.rows("get", "csr") if row["NAME"] == names["bob"]]
    assert row["CONDITION"] == "Pending" and row["SIGNERNAME"] == "example.com/people"
    assert row["REQUESTOR"] == "kubernetes-admin" and row["REQUESTEDDURATION"] == "60m"
    approved = kubectl("certificate", "approve", names["bob"])
    assert approved == f"certificatesigningrequest.certificates.k8s.io/{names['bob']} approved\n"
    kubectl("certificate", "deny", names["mallory"])
    shown = {row["NAME"]: row["CONDITION"] for row in kubectl.rows("get", "csr")}
    assert shown[names["bob"]] == "Approved" and shown[names["mallory"]] == "Denied"
    described = kubectl("describe", "csr", names["bob"])
    assert "Common Name:    bob-" in described and "Approved" in described
    both = kubectl.refused("certificate", "approve", names["mallory"])
    assert both == f'error: certificate signing request "{names["mallory"]}" is already Denied\n'
    kubectl("delete", "csr", *names.values())


def test_what_one_may_is_asked_for_oneself_and_for_others(kubectl: Shell) -> None:
    assert kubectl("auth", "can-i", "delete", "nodes") == "yes\n"
    other = kubectl.run("auth", "can-i", "list", "pods", "--as=bob", check=False)
    assert (other.returncode, other.stdout) == (1, "no\n")
    listed = kubectl("auth", "can-i", "--list")
    assert "*.*" in listed and "[*]" in listed
    assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_the_components_are_well(kubectl: Shell) -> None:
    done = kubectl.run("get", "componentstatuses")
    assert "Warning: v1 ComponentStatus is deprecated in v1.19+" in done.stderr
    assert {"controller-manager", "event-log", "scheduler"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert done.stdout.count("Healthy") == 3


# kind, its table's headers with -o wide as kube-apiserver prints them.
HEADERS = {
    "flowschemas": "NAME PRIORITYLEVEL MATCHINGPRECEDENCE DISTINGUISHERMETHOD AGE MISSINGPL",
    "ingressclasses": "NAME CONTROLLER PARAMETERS AGE",
    "csidrivers": "NAME ATTACHREQUIRED PODINFOONMOUNT STORAGECAPACITY TOKENREQUESTS REQUIRESREPUBLISH MODES AGE",
    "storageclasses": "NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE",
    "leases": "NAME HOLDER AGE",
    "priorityclasses": "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
    "validatingwebhookconfigurations": "NAME WEBHOOKS AGE",
    "endpointslices": "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
    "runtimeclasses": "NAME HANDLER AGE",
    "volumeattachments": "NAME ATTACHER PV NODE ATTACHED AGE",
    "servicecidrs": "NAME CIDRS AGE",
    "serviceaccounts": "NAME AGE",
}


@pytest.mark.parametrize("resource", HEADERS)
def test_every_kind_has_the_columns_that_people_know(kubectl: Shell, resource: str) -> None:
    type = catalogue.load().resolve(resource)
    assert type is not None
    sample = coverage.samples([type])[type.api_version, type.kind]
    body = {**sample, "apiVersion": type.api_version, "kind": type.kind}
    made = kubectl("create", "-f", "-", "-o", "name", input=json.dumps(body)).strip()
    try:
        head = kubectl("get", made, "-o", "wide").splitlines()[0]
        assert head.split() == HEADERS[resource].split()
    finally:
        kubectl("delete", made, "--wait=false")
