"""EncryptionConfiguration as Kubernetes has it: which kinds, which keys, and what cannot be, named by its field."""

import base64
from typing import Any

import pytest
import yaml

from ksql.log.encryptionconfig import EncryptionError, read, vault

KEY = base64.b64encode(b"k" * 32).decode()
OLD = base64.b64encode(b"o" * 16).decode()


def file(*entries: dict[str, Any], **more: Any) -> str:
    document = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [*entries]}
    return yaml.safe_dump({**document, **more})


def aesgcm(*keys: tuple[str, str]) -> dict[str, Any]:
    return {"aesgcm": {"keys": [{"name": name, "secret": secret} for name, secret in keys]}}


def entry(*resources: str, **more: Any) -> dict[str, Any]:
    return {"resources": [*resources], "providers": [aesgcm(("new", KEY), ("old", OLD)), {"identity": {}}], **more}


def test_the_first_entry_that_matches_and_its_first_provider_decide() -> None:
    plain = {"resources": ["events"], "providers": [{"identity": {}}, aesgcm(("new", KEY))]}
    own = {"resources": ["*.apps"], "providers": [aesgcm(("apps", KEY))]}
    found = vault(
        read(file(plain, entry("secrets", "configmaps"), own, {**entry("*."), "providers": [aesgcm(("c", KEY))]}))
    )
    names = {
        resource: root.name if (root := found.root_for(resource)) else None
        for resource in ("secrets", "configmaps", "events", "deployments.apps", "pods", "foos.example.com")
    }
    assert names == {
        "secrets": "aesgcm:new", "configmaps": "aesgcm:new", "events": None, "deployments.apps": "aesgcm:apps",
        "pods": "aesgcm:c", "foos.example.com": None,
    }  # fmt: skip
    assert set(found.labels()) == {"aesgcm:new", "aesgcm:apps", "aesgcm:c"}


def test_everything_is_everything_but_heartbeats() -> None:
    found = vault(read(file(entry("*.*"))))
    assert found.root_for("foos.example.com") is not None and found.root_for("pods") is not None
    assert found.root_for("leases.coordination.k8s.io") is None


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "expected"),
        ("kind: Other", "kind: expected EncryptionConfiguration"),
        (file(entry("secrets"), apiVersion="v2"), "apiVersion: expected"),
        (file(), "resources: at least one"),
        (file(entry("secrets"), more=1), "more: this field is not known"),
        (file(entry()), "resources[0].resources: expected names"),
        (file(entry("*")), "use '*.' for the core group"),
        (file(entry("secrets"), entry("secrets")), "resources[1].resources: 'secrets' is there twice"),
        (file(entry("leases.coordination.k8s.io")), "heartbeats"),
        (file(entry("secrets", providers=[])), "resources[0].providers: at least one"),
        (file(entry("secrets", providers=[{"aescbc": {}}])), "providers[0].aescbc: this provider is not built here"),
        (file(entry("secrets", providers=[aesgcm()])), "aesgcm.keys: at least one"),
        (file(entry("secrets", providers=[aesgcm(("a", "no"))])), "keys[0].secret"),
        (file(entry("secrets", providers=[aesgcm(("a", "AAAA"))])), "16, 24 or 32 bytes, not 3"),
        (file(entry("secrets", providers=[aesgcm(("a:b", KEY))])), "keys[0].name"),
        (file(entry("secrets", providers=[aesgcm(("a", KEY), ("a", OLD))])), "twice and differs"),
        (file(entry("secrets", providers=[{"kms": {"apiVersion": "v1", "name": "k"}}])), "kms.apiVersion: expected v2"),
        (file(entry("secrets", providers=[{"kms": {"apiVersion": "v2", "name": "k", "endpoint": "tcp://x"}}])),
         "kms.endpoint: expected unix"),
        (file(entry("secrets", providers=[
            {"kms": {"apiVersion": "v2", "name": "k", "endpoint": "unix:///x", "timeout": "soon"}}])), "kms.timeout"),
        (file(entry("secrets", providers=[{"identity": {}, "aesgcm": {}}])), "expected one provider"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_its_field(text: str, words: str) -> None:
    with pytest.raises(EncryptionError) as refused:
        read(text)
    assert words in str(refused.value)
