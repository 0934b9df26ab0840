"""The configuration is found and merged as kubectl does it, and what cannot be used is said in words."""

import base64
import ssl
from pathlib import Path

import pytest
import yaml

from ksql.auth import pki
from ksql.base.clock import SystemClock
from ksql.kubeconfig import KubeconfigError, found_files, load


def config(path: Path, name: str = "one", user=None, cluster=None, **more) -> Path:
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443/", **(cluster or {})}}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_token_and_a_server_suffice(tmp_path):
    found = load(config(tmp_path / "a", user={"token": "t"}))
    assert (found.server, found.token, found.namespace) == ("https://one:6443", "t", "default")
    assert found.headers() == [("Authorization", "Bearer t")]


def test_data_may_be_embedded_or_beside_the_file(tmp_path):
    (tmp_path / "ca.crt").write_bytes(b"authority")
    (tmp_path / "token").write_text("from a file\n")
    data = base64.b64encode(b"certificate").decode()
    found = load(
        config(
            tmp_path / "a",
            user={"client-certificate-data": data, "tokenFile": "token"},
            cluster={"certificate-authority": "ca.crt", "tls-server-name": "other"},
        )
    )
    assert (found.authority, found.certificate, found.token) == (b"authority", b"certificate", "from a file")
    assert found.server_name == "other"


def test_embedded_data_counts_before_a_file(tmp_path):
    data = base64.b64encode(b"embedded").decode()
    cluster = {"certificate-authority-data": data, "certificate-authority": "nowhere"}
    assert load(config(tmp_path / "a", cluster=cluster)).authority == b"embedded"


def test_of_several_files_the_first_that_says_something_is_right(tmp_path, monkeypatch):
    first = config(tmp_path / "a", "one", user={"token": "first"})
    second = config(tmp_path / "b", "two")
    also = config(tmp_path / "c", "one", user={"token": "never"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{first}:{second}:{also}")
    assert load().token == "first"
    assert load(context="two").server == "https://two:6443"


def test_without_a_setting_it_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert found_files() == [tmp_path / ".kube" / "config"]


def test_the_namespace_is_the_contexts_unless_given(tmp_path):
    path = config(
        tmp_path / "a",
        contexts=[{"name": "one", "context": {"cluster": "one", "user": "one", "namespace": "shop"}}],
    )
    assert load(path).namespace == "shop"
    assert load(path, namespace="other").namespace == "other"


def test_impersonation_is_sent(tmp_path):
    found = load(config(tmp_path / "a", user={"as": "bob", "as-groups": ["dev", "ops"]}))
    assert found.headers() == [
        ("Impersonate-User", "bob"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"user": {"exec": {"command": "aws"}}}, "gets its credentials by exec, which ksql does not run"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "by auth-provider"),
        ({"cluster": {"proxy-url": "http://p"}}, "proxy-url"),
        ({"cluster": {"server": ""}}, "has no server"),
        ({"cluster": {"certificate-authority-data": "%%%"}}, "certificate-authority-data is no base64"),
        ({"cluster": {"certificate-authority": "gone.crt"}}, "gone.crt"),
        ({"current-context": ""}, "no current-context"),
        ({"current-context": "nope"}, "no context 'nope'"),
        ({"clusters": []}, "no cluster 'one'"),
        ({"users": []}, "no user 'one'"),
        ({"users": [{"name": "one", "user": "text"}]}, "is no mapping"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, options, words):
    with pytest.raises(KubeconfigError) as refused:
        load(config(tmp_path / "a", **options))
    assert words in str(refused.value)


@pytest.mark.parametrize("content", ["a: [", "just text", "\x00", "- a"])
def test_what_is_no_kubeconfig_is_said(tmp_path, content):
    (tmp_path / "a").write_text(content)
    with pytest.raises(KubeconfigError, match=str(tmp_path / "a")):
        load(tmp_path / "a")


def test_no_file_at_all_is_said(tmp_path):
    with pytest.raises(KubeconfigError, match="no kubeconfig at"):
        load(tmp_path / "missing")


def test_the_clusters_own_kubeconfig_is_read_and_leaves_no_key_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    made = pki.establish(tmp_path / "pki", "127.0.0.1", SystemClock(seed=1))
    pki.write_kubeconfig(tmp_path / "kubeconfig", made, "https://127.0.0.1:1")
    context = load(tmp_path / "kubeconfig").ssl_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2 and context.verify_mode == ssl.CERT_REQUIRED
    assert list((tmp_path / "tmp").iterdir()) == []
