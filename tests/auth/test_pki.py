"""The cluster's keys are made once, kept while good, renewed when not, and never readable by others."""

import contextlib
import ssl
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ksql.auth import pki
from ksql.auth.pki import certificates, keeping
from ksql.auth.pki.certificates import Pair, issued_by
from ksql.auth.pki.record import AUTHORITIES, Database, Source
from ksql.base.clock import SystemClock
from ksql.base.tls import load_pair

DAY = timedelta(days=1)


class Later(SystemClock):
    """A clock that is ahead."""

    def __init__(self, days: float) -> None:
        super().__init__(seed=1)
        self.ahead = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self.ahead


CLOCK = SystemClock(seed=1)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def signing(made: pki.Pki) -> dict[str, bytes]:
    return {name: made.signing(name).certificate for name in made.authorities}


def test_each_purpose_has_an_authority_of_its_own(tmp_path: Path) -> None:
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert set(made.authorities) == set(AUTHORITIES) - {"database"}
    assert len(set(signing(made).values())) == len(made.authorities)
    issuers = {"server": "serving", "admin": "clients", "front-proxy-client": "front-proxy"}
    for leaf, authority in issuers.items():
        assert [n for n in made.authorities if issued_by(made.leaves[leaf].leaf, made.signing(n).leaf)] == [authority]


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    assert mode(made.directory) == 0o700
    private = [path for path in made.directory.iterdir() if path.suffix in (".key", ".token")]
    assert len(private) == 9 and {mode(path) for path in private} == {0o600}


def test_a_second_start_keeps_everything(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    before = files(tmp_path)
    second = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert files(tmp_path) == before
    assert (second.leaves, second.token, signing(second)) == (first.leaves, first.token, signing(first))


def test_another_listen_address_renews_the_server_alone(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    second = pki.establish(tmp_path, "10.1.2.3", CLOCK)
    assert second.server != first.server
    assert (signing(second), second.admin, second.token) == (signing(first), first.admin, first.token)


def test_servers_that_share_a_directory_share_a_certificate_for_all_their_addresses(tmp_path: Path) -> None:
    pki.establish(tmp_path, "10.1.2.3", CLOCK)
    second = pki.establish(tmp_path, "10.1.2.4", CLOCK)
    assert {"10.1.2.3", "10.1.2.4"} <= set(certificates.alternative_names(second.server.leaf))
    for host in ("10.1.2.3", "10.1.2.4", "0.0.0.0", "10.1.2.3"):
        assert pki.establish(tmp_path, host, CLOCK).server == second.server
    assert keeping.look(tmp_path, CLOCK).server == second.server


def test_what_runs_out_soon_is_renewed_and_the_authorities_stay(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert pki.establish(tmp_path, "127.0.0.1", Later(300)).server == first.server
    later = pki.establish(tmp_path, "127.0.0.1", Later(310))
    assert later.server != first.server and later.admin != first.admin
    assert signing(later) == signing(first)


def test_an_authority_gets_a_successor_while_it_can_still_vouch_for_it(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    later = Later(pki.AUTHORITY_DAYS - 700)
    second = pki.establish(tmp_path, "127.0.0.1", later)
    assert not set(signing(first).values()) & set(signing(second).values())
    # Who knows the old authority alone, or the new one alone, believes the server.
    for trusted in (first.signing("serving"), second.signing("serving")):
        verified(second.server, trusted.certificate, later.now())
    assert not (tmp_path / "serving-ca.key").exists() and (tmp_path / "serving-ca-2.key").exists()


def verified(server: Pair, trusted: bytes, at: datetime) -> None:
    """As a client would: raises unless the server's chain leads to what is trusted."""
    leaf, *between = x509.load_pem_x509_certificates(server.certificate)
    store = x509.verification.Store(x509.load_pem_x509_certificates(trusted))
    builder = x509.verification.PolicyBuilder().store(store).time(at.replace(tzinfo=None))
    builder.build_server_verifier(x509.DNSName("localhost")).verify(leaf, between)


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """The client's certificate after both ends have agreed; `ssl.SSLError` when they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
    ]
    for _ in range(5):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    found = ends[0].getpeercert()
    assert found is not None
    return found


@pytest.mark.parametrize("file", ["server.crt", "server.key", "clients-ca.crt", "serving-ca.key", "admin.key"])
@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_broken_file_is_made_again(tmp_path: Path, file: str, content: bytes) -> None:
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    (tmp_path / file).write_bytes(content)
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    made.server_context()
    verified(made.server, made.bundle("serving"), CLOCK.now())
    assert all(one.key for one in (made.signing(name) for name in made.authorities))


def test_a_broken_record_is_told_of(tmp_path: Path) -> None:
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    for content in (b"", b"{}", b'{"format": "other"}', b"[]"):
        (tmp_path / "pki.json").write_bytes(content)
        with pytest.raises(pki.PkiError, match=r"pki\.json: no record of keys"):
            pki.establish(tmp_path, "127.0.0.1", CLOCK)


def test_a_crash_between_key_and_certificate_is_mended(tmp_path: Path) -> None:
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    other = pki.issue_server(made.signing("serving"), pki.SERVER_NAMES, CLOCK)
    (tmp_path / "server.key").write_bytes(other.key)
    assert pki.establish(tmp_path, "127.0.0.1", CLOCK).server.key != other.key


@pytest.mark.parametrize("step", range(1, 12))
def test_a_crash_at_any_write_of_a_rotation_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    write, count = keeping.files.write_private, 0

    def crash(path: Path, data: bytes, mode: int = 0o600) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise KeyboardInterrupt
        write(path, data, mode)

    with monkeypatch.context() as patch:
        patch.setattr(keeping.files, "write_private", crash)
        try:
            keeping.rotate(tmp_path, CLOCK, ["serving", "clients"])
        except KeyboardInterrupt:
            pass
        else:
            assert count < step
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    # Whichever signs: it has its key, the server is verified by what is published, and by what was before.
    verified(made.server, made.authority_file.read_bytes(), CLOCK.now())
    verified(made.server, first.bundle("serving"), CLOCK.now())
    assert issued_by(made.admin.leaf, made.signing("clients").leaf)


def test_a_key_that_others_may_read_is_closed_again(tmp_path: Path) -> None:
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    for name in ("clients-ca.key", "admin.token", "sa.key", "server.key"):
        (tmp_path / name).chmod(0o644)
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert {mode(path) for path in tmp_path.iterdir() if path.suffix in (".key", ".token")} == {0o600}


def test_the_certificates_follow_rfc_5280(tmp_path: Path) -> None:
    made = pki.establish(tmp_path, "example.test", CLOCK)
    authority, server, admin = made.signing("clients").leaf, made.server.leaf, made.admin.leaf
    for certificate in (authority, server, admin):
        assert 0 < certificate.serial_number < 2**160
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).critical
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "example.test" in names.get_values_for_type(x509.DNSName)
    assert "10.96.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert admin.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"
    admin.verify_directly_issued_by(authority)
    verified(made.server, made.bundle("serving"), CLOCK.now())


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_name_that_no_certificate_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="characters"):
        pki.issue_client(pki.make_authority(CLOCK), name, (), CLOCK)


def test_old_tls_and_weak_ciphers_are_not_spoken(tmp_path: Path) -> None:
    context = pki.establish(tmp_path, "127.0.0.1", CLOCK).server_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"] and cipher["strength_bits"] >= 128
        assert cipher["protocol"] == "TLSv1.3" or "ECDHE" in cipher["name"]


def test_the_kubeconfig_is_private_and_left_alone_when_right(tmp_path: Path) -> None:
    made = pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    path = tmp_path / "kubeconfig"
    pki.write_kubeconfig(path, made, "https://127.0.0.1:6443")
    first = path.stat()
    pki.write_kubeconfig(path, made, "https://127.0.0.1:6443")
    assert mode(path) == 0o600 and path.stat().st_ino == first.st_ino
    pki.write_kubeconfig(path, made, "https://127.0.0.1:7443")
    assert "7443" in path.read_text() and mode(path) == 0o600


# --- rotation ---


def test_a_rotated_authority_is_believed_for_the_overlap_and_no_longer(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    alice = pki.issue_client(first.signing("clients"), "alice", (), CLOCK)
    second = keeping.rotate(tmp_path, CLOCK, ["clients"], timedelta(days=30))
    assert issued_by(second.admin.leaf, second.signing("clients").leaf) and second.admin != first.admin
    assert second.server == first.server, "the others stay"
    believed = [x509.load_pem_x509_certificate(one) for one in second.believed()["clients"]]
    assert [issued_by(alice.leaf, one) for one in believed] == [False, True]
    assert len(keeping.look(tmp_path, Later(29)).believed()["clients"]) == 2
    later = keeping.look(tmp_path, Later(30.1))
    assert later.believed()["clients"] == [second.signing("clients").certificate]
    assert not (tmp_path / "clients-ca.crt").exists()


def test_two_rotations_in_a_row_leave_three_believed(tmp_path: Path) -> None:
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    keeping.rotate(tmp_path, CLOCK, ["clients"])
    made = keeping.rotate(tmp_path, CLOCK, ["clients"])
    assert len(made.believed()["clients"]) == 3
    assert [path.name for path in sorted(tmp_path.glob("clients-ca*.key"))] == ["clients-ca-3.key"]


def test_without_overlap_the_old_authority_is_gone_at_once(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    made = keeping.rotate(tmp_path, CLOCK, ["clients"], timedelta(0))
    assert first.signing("clients").certificate not in made.believed()["clients"]


def test_what_is_the_operators_own_or_unknown_is_not_rotated_or_renewed(tmp_path: Path) -> None:
    with pytest.raises(pki.PkiError, match="no keys at"):
        keeping.renew(tmp_path / "none", CLOCK)
    pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    with pytest.raises(pki.PkiError, match="'bob' cannot be renewed: it is none of server, admin"):
        keeping.renew(tmp_path / "pki", CLOCK, ["bob"])
    with pytest.raises(pki.PkiError, match="'x-ca' is none of admin, clients-ca"):
        keeping.initialise(tmp_path / "pki", CLOCK, given={"x-ca": Source("a", "b")})


def test_leaves_are_renewed_when_asked(tmp_path: Path) -> None:
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    second = keeping.renew(tmp_path, CLOCK, ["server", "token"])
    assert second.server != first.server and second.admin == first.admin and second.token != first.token
    third = keeping.renew(tmp_path, CLOCK)
    assert all(third.leaves[name] != second.leaves[name] for name in second.leaves) and third.token == second.token


# --- clusters made before each purpose had an authority of its own ---


def former(directory: Path, days: int = pki.AUTHORITY_DAYS) -> tuple[Pair, Pair, Pair]:
    """A directory as it was: one authority for clients and server that may not vouch for another."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ksql-ca")])
    now = CLOCK.now()
    builder = certificates._builder(name, name, key.public_key(), now - DAY, now + days * DAY, CLOCK)
    authority = certificates._pair(certificates._as_authority(builder, 0).sign(key, hashes.SHA256()), key)
    server = pki.issue_server(authority, pki.SERVER_NAMES, CLOCK)
    admin = pki.issue_client(authority, pki.ADMIN_USER, ("system:masters",), CLOCK)
    for stem, pair in (("ca", authority), ("server", server), ("admin", admin)):
        pki.files.write(directory, stem, pair)
    (directory / "admin.token").write_text("the-token\n")
    return authority, server, admin


def test_a_former_authority_goes_on_through_the_overlap(tmp_path: Path) -> None:
    authority, server, admin = former(tmp_path)
    for clock in (CLOCK, Later(200)):
        made = pki.establish(tmp_path, "127.0.0.1", clock)
        # Kubeconfigs handed on believe the server, and are believed.
        verified(made.server, authority.certificate, clock.now())
        believed = [x509.load_pem_x509_certificate(one) for one in made.believed()["clients"]]
        assert [issued_by(admin.leaf, one) for one in believed] == [False, True]
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert made.server == server and made.token == "the-token"
    # But it signs no users any more, and its key lies where the server's authority has it.
    assert issued_by(made.admin.leaf, made.signing("clients").leaf)
    assert not issued_by(made.admin.leaf, authority.leaf) and not (tmp_path / "ca.key").exists()
    assert made.authority_file.read_bytes().strip() == authority.certificate.strip()
    later = pki.establish(tmp_path, "127.0.0.1", Later(366))
    assert authority.certificate not in later.believed()["clients"]


def test_a_successor_that_nobody_vouches_for_is_announced_first(tmp_path: Path) -> None:
    authority, _, _ = former(tmp_path)
    pki.establish(tmp_path, "127.0.0.1", CLOCK)
    made = keeping.rotate(tmp_path, CLOCK, ["serving"])
    verified(made.server, authority.certificate, CLOCK.now())
    assert made.bundle("serving").count(b"BEGIN CERT") == 2, "the successor is told of"
    assert made.due() <= CLOCK.now() + 7 * DAY
    later = keeping.look(tmp_path, Later(7.1))
    verified(later.server, made.bundle("serving"), Later(7.1).now())
    with pytest.raises(x509.verification.VerificationError):
        verified(later.server, authority.certificate, Later(7.1).now())


def test_a_successor_signs_at_once_when_told_so(tmp_path: Path) -> None:
    former(tmp_path)
    first = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert keeping.rotate(tmp_path, CLOCK, ["serving"], at_once=True).server != first.server


# --- an operator's own ---


def own_authority(directory: Path, kind: str, name: str = "corporate") -> tuple[Path, Path]:
    """An authority below a root of the operator's, with a key of some kind: the files of chain and key."""
    root = pki.make_authority(CLOCK, "root")
    makers = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048), "ed25519": ed25519.Ed25519PrivateKey.generate,
        "ec": lambda: ec.generate_private_key(ec.SECP384R1()),
    }  # fmt: skip
    key, now = makers[kind](), CLOCK.now()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = certificates._builder(
        subject, root.leaf.subject, key.public_key(), now - DAY, now + 3000 * DAY, CLOCK
    )
    builder = certificates._as_authority(builder, 0).add_extension(certificates._identifier(root.leaf), critical=False)
    between = builder.sign(root.signing_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    certificate_file.write_bytes(between + root.certificate)
    key_file.write_bytes(secret)
    return certificate_file, key_file


@pytest.mark.parametrize("kind", ["rsa", "ed25519", "ec"])
def test_an_operators_authority_signs_and_its_key_stays_where_he_keeps_it(tmp_path: Path, kind: str) -> None:
    certificate, key = own_authority(tmp_path, kind)
    given = {f"{name}-ca": Source(str(certificate), str(key)) for name in ("clients", "serving")}
    made = keeping.initialise(tmp_path / "pki", CLOCK, given=given)
    own = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert issued_by(made.server.leaf, own) and issued_by(made.admin.leaf, own)
    root = certificate.read_bytes().partition(own.public_bytes(serialization.Encoding.PEM))[2]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=root.decode())
    load_pair(context, made.admin.certificate, made.admin.key)
    assert shaken(made.server_context(), context)
    assert not list((tmp_path / "pki").glob("clients-ca*.key"))
    again = pki.establish(tmp_path / "pki", "127.0.0.1", CLOCK)
    assert again.leaves == made.leaves


def test_keys_come_from_the_environment_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = own_authority(tmp_path, "ec")
    monkeypatch.setenv("OWN_CRT", certificate.read_text())
    monkeypatch.setenv("OWN_KEY", key.read_text())
    made = keeping.initialise(tmp_path / "pki", CLOCK, given={"clients-ca": Source("env:OWN_CRT", "env:OWN_KEY")})
    assert issued_by(made.admin.leaf, x509.load_pem_x509_certificate(certificate.read_bytes()))
    monkeypatch.delenv("OWN_KEY")
    with pytest.raises(pki.PkiError, match="the environment has no OWN_KEY"):
        keeping.look(tmp_path / "pki", CLOCK)


def test_a_pair_that_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    certificate, _ = own_authority(tmp_path, "ec")
    _, other = own_authority(tmp_path, "ec", "other")
    with pytest.raises(pki.PkiError, match=r"clients-ca: .*other.key is not the key of .*corporate.crt"):
        keeping.initialise(tmp_path / "pki", CLOCK, given={"clients-ca": Source(str(certificate), str(other))})
    with pytest.raises(pki.PkiError, match=r"server: .*none.crt: .*No such file"):
        keeping.initialise(tmp_path / "pki", CLOCK, given={"server": Source(str(tmp_path / "none.crt"), str(other))})


def test_an_authority_without_its_key_is_believed_and_its_leaves_have_to_be_given(tmp_path: Path) -> None:
    certificate, key = own_authority(tmp_path, "ec")
    own = Pair(certificate.read_bytes(), key.read_bytes())
    with pytest.raises(pki.PkiError, match="there is no certificate admin, and its authority has no key here"):
        keeping.initialise(tmp_path / "pki", CLOCK, given={"clients-ca": Source(str(certificate))})
    admin = pki.issue_client(own, pki.ADMIN_USER, ("system:masters",), CLOCK)
    pki.files.write(tmp_path, "boss", admin)
    given = {"clients-ca": Source(str(certificate)), "admin": Source(f"{tmp_path}/boss.crt", f"{tmp_path}/boss.key")}
    made = keeping.initialise(tmp_path / "pki", CLOCK, given=given)
    assert made.admin == admin and made.believed()["clients"] == [own.certificate]
    with pytest.raises(pki.PkiError, match="signs nothing"):
        made.signing("clients")


def test_an_operators_new_authority_follows_his_old_one_with_an_overlap(tmp_path: Path) -> None:
    certificate, key = own_authority(tmp_path, "ec")
    given = {"clients-ca": Source(str(certificate), str(key))}
    first = keeping.initialise(tmp_path / "pki", CLOCK, given=given)
    own_authority(tmp_path, "rsa")  # in the same place
    second = keeping.look(tmp_path / "pki", CLOCK)
    assert len(second.believed()["clients"]) == 2 and second.admin != first.admin
    with pytest.raises(pki.PkiError, match="the operator's own"):
        keeping.rotate(tmp_path / "pki", CLOCK, ["clients"])


def test_an_authority_laid_into_the_directory_before_the_first_start_is_taken(tmp_path: Path) -> None:
    own = pki.make_authority(CLOCK, "laid there")
    pki.files.write(tmp_path, "clients-ca", own)
    made = pki.establish(tmp_path, "127.0.0.1", CLOCK)
    assert made.signing("clients").certificate == own.certificate and issued_by(made.admin.leaf, own.leaf)


def test_the_connection_to_the_database_has_both_ends(tmp_path: Path) -> None:
    made = keeping.initialise(tmp_path, CLOCK, database=Database("localhost", "ksql"))
    server, client = made.leaves["database-server"], made.leaves["database-client"]
    verified(server, (tmp_path / "database-trust.crt").read_bytes(), CLOCK.now())
    assert client.leaf.subject.rfc4514_string() == "CN=ksql" and mode(tmp_path / "database-client.key") == 0o600
    assert set(made.believed()) == {"clients", "nodes", "front-proxy"}, "the database's speak to the database alone"
