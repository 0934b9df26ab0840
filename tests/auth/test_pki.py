"""The cluster's keys are made once, kept while good, renewed when not, and never readable by others."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ksql.auth import pki
from ksql.base.clock import SystemClock


class Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, days: float) -> None:
        super().__init__(seed=1)
        self.ahead = timedelta(days=days)

    def now(self):
        return super().now() + self.ahead


CLOCK = SystemClock(seed=1)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_for_their_owner_alone(tmp_path):
    made = pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    assert mode(made.directory) == 0o700
    private = ("ca.key", "server.key", "admin.key", "admin.token")
    assert {mode(made.directory / name) for name in private} == {0o600}


def test_a_second_start_keeps_everything(tmp_path):
    assert pki.establish(tmp_path, "127.0.0.1", CLOCK) == pki.establish(tmp_path, "127.0.0.1", CLOCK)


def test_another_listen_address_renews_the_server_alone(tmp_path):
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    second = pki.establish(tmp_path, "10.1.2.3", CLOCK)
    assert second.server != first.server
    assert (second.authority, second.admin, second.token) == (first.authority, first.admin, first.token)


def test_what_runs_out_soon_is_renewed_and_the_authority_stays(tmp_path):
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert pki.establish(tmp_path, "127.0.0.1", Later(300)).server == first.server
    later = pki.establish(tmp_path, "127.0.0.1", Later(310))
    assert later.server != first.server and later.admin != first.admin
    assert later.authority == first.authority


def test_an_authority_near_its_end_takes_its_certificates_with_it(tmp_path):
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    later = pki.establish(tmp_path, "127.0.0.1", Later(pki.AUTHORITY_DAYS - 100))
    assert later.authority != first.authority and later.server != first.server and later.admin != first.admin


@pytest.mark.parametrize("file", ["server.crt", "server.key", "ca.crt", "admin.key"])
@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_broken_file_is_made_again(tmp_path, file, content):
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    (tmp_path / file).write_bytes(content)
    pki.establish(tmp_path, "127.0.0.1", CLOCK).server_context()


def test_a_crash_between_key_and_certificate_is_mended(tmp_path):
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    other = pki.issue_server(made.authority, pki.SERVER_NAMES, CLOCK)
    (tmp_path / "server.key").write_bytes(other.key)
    assert pki.establish(tmp_path, "127.0.0.1", CLOCK).server.key != other.key


def test_a_key_that_others_may_read_is_closed_again(tmp_path):
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    (tmp_path / "ca.key").chmod(0o644)
    (tmp_path / "admin.token").chmod(0o644)
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert mode(tmp_path / "ca.key") == mode(tmp_path / "admin.token") == 0o600


def test_the_certificates_follow_rfc_5280(tmp_path):
    made = pki.establish(tmp_path, "example.test", CLOCK)
    authority, server, admin = (
        x509.load_pem_x509_certificate(pair.certificate) for pair in (made.authority, made.server, made.admin)
    )
    for certificate in (authority, server, admin):
        assert 0 < certificate.serial_number < 2**160
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "example.test" in names.get_values_for_type(x509.DNSName)
    assert "10.96.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert admin.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"
    admin.verify_directly_issued_by(authority)


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_no_certificate_can_carry_is_refused(name):
    with pytest.raises(ValueError, match="characters"):
        pki.issue_client(pki.make_authority(CLOCK), name, (), CLOCK)


def test_old_tls_is_not_spoken(tmp_path):
    context = pki.establish(tmp_path, "127.0.0.1", CLOCK).server_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_kubeconfig_is_private_and_left_alone_when_right(tmp_path):
    made = pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    path = tmp_path / "kubeconfig"
    pki.write_kubeconfig(path, made, "https://127.0.0.1:6443")
    first = path.stat()
    pki.write_kubeconfig(path, made, "https://127.0.0.1:6443")
    assert mode(path) == 0o600 and path.stat().st_ino == first.st_ino
    pki.write_kubeconfig(path, made, "https://127.0.0.1:7443")
    assert "7443" in path.read_text() and mode(path) == 0o600
