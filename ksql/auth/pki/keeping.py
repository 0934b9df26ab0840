"""The keys in a directory made, kept, renewed and succeeded: what `record.py` decides is done to files here.

Every way in takes the directory for itself, brings it to what it has to be at this instant, and answers with the
`Pki`. Doing so again changes nothing, so a server may look as often as it likes, and a crash at any point is mended by
the next look.
"""

import contextlib
import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ksql.auth.pki import files
from ksql.auth.pki.certificates import (
    Pair,
    issue_client,
    issue_server,
    make_authority,
    vouched,
)
from ksql.auth.pki.record import (
    ADMIN,
    ANNOUNCED,
    AUTHORITIES,
    CLIENTS,
    DATABASE,
    DATABASE_SERVER,
    NODES,
    OVERLAP,
    PROXY,
    PROXY_CLIENT,
    SERVER,
    SERVING,
    Authority,
    Database,
    Generation,
    Leaf,
    PkiError,
    Record,
    Source,
    fault,
    leaves,
    renewal_before,
    tail,
)
from ksql.auth.tokens import make_key
from ksql.base.clock import Clock, secret_token
from ksql.base.tls import hardened, load_pair

# What clients call the server: from this machine, and from pods by the Service `kubernetes`.
SERVICE_ADDRESS = "10.96.0.1"
SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    SERVICE_ADDRESS,
)
_ANY_ADDRESS = ("0.0.0.0", "::", "")
# The one authority of clusters made before each purpose had its own.
_FORMER = "ca"


@dataclass(frozen=True)
class Pki:
    """The keys in a directory at an instant, and what is in them."""

    directory: Path
    record: Record
    authorities: Mapping[str, Authority]
    leaves: Mapping[str, Pair]
    token: str
    accounts_key: bytes  # signs the tokens of service accounts
    now: datetime

    def signing(self, authority: str) -> Pair:
        """Who signs; `PkiError` where only the operator's own hands can."""
        found = self.authorities[authority].signing(self.now)
        if found is None:
            raise PkiError(f"the authority of {authority} has no key here: it signs nothing")
        return found.pair

    def bundle(self, authority: str) -> bytes:
        """Whom to trust of an authority's generations, as PEM."""
        return self.authorities[authority].bundle(self.now)

    @property
    def authority_file(self) -> Path:
        """What clients trust the server by; it follows every change."""
        return self.directory / files.BUNDLE

    @property
    def server(self) -> Pair:
        return self.leaves[SERVER]

    @property
    def admin(self) -> Pair:
        return self.leaves[ADMIN]

    @property
    def proxy(self) -> Pair:
        return self.leaves[PROXY_CLIENT]

    def believed(self) -> Mapping[str, Sequence[bytes]]:
        """By which certificates clients are believed, by authority."""
        return {
            name: [one.pair.certificate for one in self.authorities[name].believed(self.now)]
            for name in (CLIENTS, NODES, PROXY)
        }

    def server_context(self) -> ssl.SSLContext:
        """TLS for the listener: client certificates welcome but not demanded."""
        context = hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        load_pair(context, self.server.certificate, self.server.key)
        trusted = b"".join(self.bundle(name) for name in (CLIENTS, NODES, PROXY))
        context.load_verify_locations(cadata=trusted.decode())
        # An operator's authority may stand below another that is none of our business.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def proxy_context(self) -> ssl.SSLContext:
        """TLS towards other API servers, showing the front proxy's certificate; whom to trust is the caller's."""
        context = hardened(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        load_pair(context, self.proxy.certificate, self.proxy.key)
        return context

    def due(self) -> datetime:
        """When there is something to do again."""
        instants = [at for authority in self.authorities.values() for at in authority.due() if at > self.now]
        instants += [pair.ends - renewal_before(pair) for name, pair in self.leaves.items() if self.renews(name)]
        return min(instants)

    def renews(self, leaf: str) -> bool:
        """Whether a leaf is ours to renew."""
        if leaf in self.record.given:
            return False
        authority = next(one.authority for one in leaves(self.record.database) if one.name == leaf)
        return self.authorities[authority].signing(self.now) is not None


@dataclass(frozen=True)
class Order:
    """What is asked for beyond what is due."""

    # Leaves to be made anew (and TOKEN, the administrator's), and after which instant they have to count from.
    renewed: Sequence[str] = ()
    after: datetime | None = None
    # Authorities that get a successor, for how long they go on being believed, and whether it signs at once.
    succeeded: Sequence[str] = ()
    overlap: timedelta = OVERLAP
    at_once: bool = False


NOTHING = Order()
# Beside the leaves, what can be made anew by this name.
TOKEN = "token"
Change = Callable[[Record], Record]


def establish(directory: Path, host: str, clock: Clock) -> Pki:
    """The keys in `directory` for a server at `host`, made or renewed where they have to be.

    Several servers of one cluster may share a directory: each one's address stays in the certificate.
    """

    def here(record: Record) -> Record:
        others = (record.host,) if record.host not in ("", host, *_ANY_ADDRESS, *SERVER_NAMES) else ()
        names = tuple(dict.fromkeys(name for name in (*record.names, *others) if name != host))
        return replace(record, host=host, names=names)

    return _settled(directory, clock, here)


def look(directory: Path, clock: Clock) -> Pki:
    """The same for the server that they were made for."""
    return _settled(directory, clock)


def initialise(
    directory: Path,
    clock: Clock,
    host: str = "",
    names: Sequence[str] = (),
    given: Mapping[str, Source] | None = None,
    database: Database | None = None,
) -> Pki:
    """Make them before the first start, or change what they are for: all that is given is added."""
    known = {f"{name}-ca" for name in AUTHORITIES} | {leaf.name for leaf in leaves(Database("", ""))}
    for name in given or {}:
        if name not in known:
            raise PkiError(f"{name!r} is none of {', '.join(sorted(known))}")

    def changed(record: Record) -> Record:
        return replace(
            record, host=host or record.host, names=tuple(dict.fromkeys((*record.names, *names))),
            given={**record.given, **(given or {})}, database=database or record.database,
        )  # fmt: skip

    return _settled(directory, clock, changed)


def renew(directory: Path, clock: Clock, names: Sequence[str] = (), after: datetime | None = None) -> Pki:
    """New leaves in the place of these, or of all that are ours."""
    record = _known(directory)
    ours = [leaf.name for leaf in leaves(record.database) if leaf.name not in record.given]
    for name in names:
        if name not in ours and name != TOKEN:
            why = "it is the operator's own" if name in record.given else f"it is none of {', '.join((*ours, TOKEN))}"
            raise PkiError(f"{name!r} cannot be renewed: {why}")
    return _settled(directory, clock, order=Order(renewed=tuple(names) or ours, after=after))


def rotate(
    directory: Path, clock: Clock, names: Sequence[str], overlap: timedelta = OVERLAP, *, at_once: bool = False
) -> Pki:
    """Successors for these authorities; what the old ones have signed counts for `overlap` more."""
    record = _known(directory)
    for name in names:
        if f"{name}-ca" in record.given:
            raise PkiError(f"the authority of {name} is the operator's own: put its successor into the same place")
    order = Order(succeeded=tuple(names), overlap=overlap, at_once=at_once)
    return _settled(directory, clock, order=order)


def _known(directory: Path) -> Record:
    record = files.read_record(directory) if directory.is_dir() else None
    if record is None:
        raise PkiError(f"no keys at {directory}: start the cluster, or run ksql pki init")
    return record


def known(directory: Path, clock: Clock) -> Pki:
    """The keys as they are, nothing changed; `PkiError` when there are none."""
    record = _known(directory)
    now = clock.now()
    authorities = {name: _read(directory, name, record) for name in _needed(record)}
    for name, source in record.given.items():
        authority = authorities.get(name.removesuffix("-ca"))
        if authority is not None and authority.generations:
            authorities[authority.name] = _with_key(authority, files.given(name, source))
    found = {}
    for leaf in leaves(record.database):
        own = record.given.get(leaf.name)
        pair = files.given(leaf.name, own) if own else files.read(directory, leaf.name, keyless=True)
        if pair is not None:
            found[leaf.name] = pair
    return Pki(directory, record, authorities, found, "", b"", now)


def server_names(host: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The names and addresses that a server listening at `host` is reached by."""
    # An address that stands for all of them is none to connect to. In order, whichever server started last.
    own = sorted({host, *more} - {*_ANY_ADDRESS, *SERVER_NAMES})
    return (*SERVER_NAMES, *own)


def _needed(record: Record) -> Iterable[str]:
    return [name for name in AUTHORITIES if name != DATABASE or record.database is not None]


def _settled(
    directory: Path, clock: Clock, change: Change = lambda record: record, order: Order = NOTHING
) -> Pki:
    """All that is due done, and what is ordered."""
    with files.locked(directory):
        record = change(files.read_record(directory) or _adopted(directory, clock))
        authorities = {
            name: _settle(directory, _read(directory, name, record), record, clock, order)
            for name in _needed(record)
        }
        record = replace(record, generations={name: one.generations for name, one in authorities.items()})
        files.write_if_other(directory / files.RECORD, record.encode())
        kept = {
            leaf.name: _kept(directory, leaf, authorities[leaf.authority], record, clock, order)
            for leaf in leaves(record.database)
        }
        for authority in authorities.values():
            _tidy(directory, authority)
        (directory / f"{_FORMER}.key").unlink(missing_ok=True)
        files.write_if_other(directory / files.BUNDLE, authorities[SERVING].bundle(clock.now()))
        if record.database is not None:
            files.write_if_other(directory / files.DATABASE_BUNDLE, authorities[DATABASE].bundle(clock.now()))
        if TOKEN in order.renewed:
            (directory / files.TOKEN).unlink(missing_ok=True)
        return Pki(
            directory, record, authorities, kept, _token(directory), _accounts_key(directory), clock.now()
        )


def _adopted(directory: Path, clock: Clock) -> Record:
    """What is there before there is a record: authorities that an operator has laid there, or the former one."""
    now = clock.now()
    former = files.read_authority(directory, _FORMER)
    if former is not None and former.key and not (directory / f"{files.stem(SERVING, 1)}.crt").exists():
        # It goes on as what clients trust the server by, and is believed of users while their certificates last.
        files.write(directory, files.stem(SERVING, 1), former)
        files.write(directory, files.stem(CLIENTS, 1), Pair(former.certificate))
    found = {}
    for name in AUTHORITIES:
        pair = files.read_authority(directory, files.stem(name, 1))
        if pair is not None:
            until = None if pair.key else min(now + OVERLAP, pair.ends)
            found[name] = [Generation(1, pair.leaf.not_valid_before_utc, until, pair)]
    return Record(generations=found)


def _read(directory: Path, name: str, record: Record) -> Authority:
    """An authority as the record and the files have it; a generation whose certificate is lost is none."""
    found = []
    for one in record.generations.get(name, ()):
        pair = files.read_authority(directory, files.stem(name, one.number))
        if pair is not None:
            vouchers = b""
            with contextlib.suppress(FileNotFoundError):
                vouchers = (directory / f"{files.stem(name, one.number)}.vouched.crt").read_bytes()
            found.append(replace(one, pair=pair, vouchers=vouchers))
    return Authority(AUTHORITIES[name], tuple(found))


def _settle(directory: Path, authority: Authority, record: Record, clock: Clock, order: Order) -> Authority:
    """An authority with the successor that it needs, and without what is over."""
    now, source = clock.now(), record.given.get(f"{authority.name}-ca")
    if source is not None:
        authority = _with_given(authority, files.given(f"{authority.name}-ca", source), clock)
    elif authority.name in order.succeeded or authority.wants_successor(now):
        number = authority.next_number()
        name = f"ksql-{authority.name}-ca" + ("" if number == 1 else f"-{number}")
        authority = _succeeded(authority, make_authority(clock, name), clock, order)
    for one in authority.generations:
        stem = files.stem(authority.name, one.number)
        there = files.read_authority(directory, stem)
        if there is None or there.certificate != one.pair.certificate:
            # The key of an operator's own stays where he keeps it.
            files.write(directory, stem, one.pair if source is None else Pair(one.pair.certificate))
            if one.vouchers:
                files.write_private(directory / f"{stem}.vouched.crt", one.vouchers, 0o644)
    return replace(authority, generations=tuple(_remaining(authority, now)))


def _remaining(authority: Authority, now: datetime) -> Iterable[Generation]:
    """The generations that are believed; what signs no more needs no key, and nobody can steal it then."""
    signing = authority.signing(now)
    believed = [one for one in authority.generations if one.is_believed(now)]
    for one in believed:
        if signing is not None and one.number < signing.number:
            yield replace(one, pair=Pair(one.pair.certificate))
        elif one is believed[0]:
            # Whoever vouched for it has gone.
            yield replace(one, vouchers=b"")
        else:
            yield one


def _tidy(directory: Path, authority: Authority) -> None:
    """Destroy what is over: only once the record says so, or a crash would leave nobody to vouch for a successor."""
    wanted = set()
    for one in authority.generations:
        stem = files.stem(authority.name, one.number)
        wanted.add(f"{stem}.crt")
        if one.pair.key:
            wanted.add(f"{stem}.key")
        if one.vouchers:
            wanted.add(f"{stem}.vouched.crt")
    ours = re.compile(rf"{authority.name}-ca(-\d+)?\.(crt|key|vouched\.crt)")
    for path in directory.iterdir():
        if ours.fullmatch(path.name) and path.name not in wanted:
            path.unlink(missing_ok=True)


def _succeeded(authority: Authority, pair: Pair, clock: Clock, order: Order = NOTHING) -> Authority:
    now = clock.now()
    current = authority.signing(now)
    voucher = b"" if current is None else vouched(current.pair, pair, clock)
    # Who trusts the old one alone, far away, must first hear of the new one if nobody vouches for it.
    is_announced = current is not None and not voucher and authority.part.trusted_afar and not order.at_once
    signs = now + ANNOUNCED if is_announced else now
    signs = signs.replace(microsecond=0)
    made = Generation(authority.next_number(), signs, None, pair, voucher)
    return authority.succeeded(made, order.overlap)


def _with_given(authority: Authority, pair: Pair, clock: Clock) -> Authority:
    """With an operator's own authority as the newest."""
    newest = authority.generations[-1] if authority.generations else None
    if newest is None or newest.pair.certificate != pair.certificate:
        return _succeeded(authority, pair, clock, Order(at_once=True))
    return _with_key(authority, pair)


def _with_key(authority: Authority, pair: Pair) -> Authority:
    *older, newest = authority.generations
    if newest.pair.certificate != pair.certificate:
        return authority
    return replace(authority, generations=(*older, replace(newest, pair=pair)))


def _kept(
    directory: Path, leaf: Leaf, authority: Authority, record: Record, clock: Clock, order: Order
) -> Pair:
    """A leaf as it has to be."""
    now = clock.now()
    advice = f"give one by ksql pki init --given {leaf.name}=CERTIFICATE,KEY"
    if (source := record.given.get(leaf.name)) is not None:
        pair = files.given(leaf.name, source)
        if not pair.key:
            raise PkiError(f"{leaf.name}: {source.certificate} comes without its key: {advice}")
        return pair
    signing, found = authority.signing(now), files.read(directory, leaf.name)
    if signing is None:
        if found is None:
            raise PkiError(f"there is no certificate {leaf.name}, and its authority has no key here: {advice}")
        return found
    names = _names(leaf, record)
    if leaf.name not in order.renewed and not fault(found, signing, names, now):
        assert found is not None
        chain = found.leaf.public_bytes(Encoding.PEM) + tail(signing)
        if found.certificate != chain:
            found = replace(found, certificate=chain)
            files.write_private(directory / f"{leaf.name}.crt", chain, 0o644)
        return found
    made = _made(leaf, signing.pair, names, clock, order)
    return files.write(directory, leaf.name, made.with_voucher(tail(signing)))


def _made(leaf: Leaf, authority: Pair, names: Sequence[str], clock: Clock, order: Order) -> Pair:
    if names:
        common = "kube-apiserver" if leaf.name == SERVER else names[0]
        return issue_server(authority, names, clock, common)
    return issue_client(authority, leaf.user, leaf.groups, clock, order.after)


def _names(leaf: Leaf, record: Record) -> tuple[str, ...]:
    if leaf.name == SERVER:
        return server_names(record.host, record.names)
    if leaf.name == DATABASE_SERVER and record.database is not None:
        return (record.database.host,)
    return ()


def _token(directory: Path) -> str:
    path = directory / files.TOKEN
    with contextlib.suppress(FileNotFoundError):
        if token := path.read_text().strip():
            files.close(path)
            return token
    token = secret_token()
    files.write_private(path, token.encode() + b"\n")
    return token


def _accounts_key(directory: Path) -> bytes:
    """The key of service accounts' tokens. One that cannot be read is made anew, and old tokens end."""
    path = directory / files.ACCOUNTS
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
        key = path.read_bytes()
        if isinstance(serialization.load_pem_private_key(key, None), ec.EllipticCurvePrivateKey):
            files.close(path)
            return key
    key = make_key()
    files.write_private(path, key)
    return key
