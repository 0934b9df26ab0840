# ruff: noqa: E501 -- messages are quoted whole, one case a line
"""What is allowed and seldom meant is told, in kube-apiserver's words, and told of nothing else."""

from base64 import b64encode
from typing import Any

import pytest

from ksql.auth.pki import make_authority
from ksql.base.clock import SystemClock
from ksql.schema import catalogue
from ksql.schema.rules import cautions

CATALOGUE = catalogue.load()


def told(key: str, document: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    return list(cautions.of(CATALOGUE.by_key(key), {"metadata": {"name": "a"}, **document}, old))


def template(**spec: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": spec}}}


NOTHING = "a null labelSelector results in matching no pod"
NO_LABEL = "in surprising behavior; a DNS label is recommended: [must not contain dots]"


@pytest.mark.parametrize(
    ("key", "document", "words"),
    [
        ("services", {"spec": {"clusterIP": "None", "sessionAffinity": "None", "loadBalancerIP": "10.0.0.1"}}, "spec.loadBalancerIP is ignored for headless services"),
        ("services", {"spec": {"clusterIP": "10.0.0.1", "sessionAffinity": "None", "externalIPs": ["010.0.0.1"]}}, 'spec.externalIPs[0]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"'),
        ("services", {"spec": {"type": "ClusterIP", "externalName": "a.b"}}, 'spec.externalName is ignored when spec.type is not "ExternalName"'),
        ("ingresses.networking.k8s.io", {"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}}, "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"),
        ("networkpolicies.networking.k8s.io", {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.7/8"}}]}]}}, 'spec.egress[0].to[0].ipBlock.cidr: CIDR value "10.0.0.7/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.7/32"?)'),
        ("deployments.apps", template(topologySpreadConstraints=[{}]), f"spec.template.spec.topologySpreadConstraints[0].labelSelector: {NOTHING}"),
        ("deployments.apps", {"metadata": {"name": "a.b"}}, f"metadata.name: this is used in Pod names and hostnames, which can result {NO_LABEL}"),
        ("pods", {"spec": {"imagePullSecrets": [{}]}}, 'spec.imagePullSecrets[0].name: invalid empty name ""'),
        ("resourceslices.resource.k8s.io", {"spec": {"driver": "D.example"}}, 'spec.driver: driver names should be lowercase; "D.example" contains uppercase characters'),
    ],
)  # fmt: skip
def test_people_are_told(key: str, document: dict[str, Any], words: str) -> None:
    assert told(key, document) == [words]


def test_a_secret_for_tls_holds_what_belongs_together() -> None:
    def secret(certificate: bytes, key: bytes) -> list[str]:
        data = {"tls.crt": b64encode(certificate).decode(), "tls.key": b64encode(key).decode()}
        return told("secrets", {"type": "kubernetes.io/tls", "data": data})

    one, other = make_authority(SystemClock()), make_authority(SystemClock())
    assert secret(one.certificate, one.key) == []
    assert secret(one.certificate, other.key) == ["tls: private key does not match public key"]
    assert secret(b"hi", one.key) == ["tls: failed to find any PEM data in certificate input"]
    assert secret(one.certificate, b"hi") == ["tls: failed to find any PEM data in key input"]


def test_a_change_is_told_of_only_where_it_changes_something() -> None:
    driver = {"spec": {"tokenRequests": [{"audience": "a"}]}}
    assert len(told("csidrivers.storage.k8s.io", driver)) == 1
    assert len(told("csidrivers.storage.k8s.io", driver, {"spec": {}})) == 1
    assert told("csidrivers.storage.k8s.io", driver, driver) == []


@pytest.mark.parametrize("key", sorted(cautions.CAUTIONS))
def test_nothing_is_told_of_an_empty_object(key: str) -> None:
    document = {"spec": {"clusterIP": "", "sessionAffinity": "None"}} if key == "services" else {}
    assert told(key, document) == []
