"""A table of every certificate there is: what it is for, who signed it, until when it is good, and who renews it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from ksql.auth.pki.certificates import fits, issued_by
from ksql.auth.pki.files import stem
from ksql.auth.pki.keeping import Pki
from ksql.auth.pki.record import Authority, Generation, leaves, renewal_before

# Whoever looks monthly, or is told a month before, has time to act.
ALARM = timedelta(days=30)

GOOD, DUE, EXPIRING, EXPIRED, MISSING, BROKEN = "good", "due", "expiring", "expired", "missing", "broken"
BELIEVED, ANNOUNCED = "believed", "announced"


@dataclass(frozen=True, slots=True)
class Row:
    """One certificate. `state` is one of the words above; `note` says more, for people."""

    name: str
    purpose: str
    state: str
    note: str = ""
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    source: str = ""
    is_authority: bool = False
    renewed_by: str = "ksql"  # or "operator"

    @property
    def alarms(self) -> bool:
        """Whether somebody has to act."""
        return self.state in (EXPIRING, EXPIRED, MISSING, BROKEN)


def rows(keys: Pki, now: datetime, within: timedelta = ALARM) -> Sequence[Row]:
    """Authorities first, each with its generations, then leaves. What ends within `within` alarms."""
    found = [row for authority in keys.authorities.values() for row in _authority(keys, authority, now, within)]
    return [*found, *_leaves(keys, now, within)]


def _authority(keys: Pki, authority: Authority, now: datetime, within: timedelta) -> Iterator[Row]:
    signing, is_given = authority.signing(now), f"{authority.name}-ca" in keys.record.given
    if not authority.generations:
        yield Row(f"{authority.name}-ca", authority.part.purpose, MISSING, "the next start makes it", is_authority=True)
    for one in authority.generations:
        name = stem(authority.name, one.number)
        is_ours = not (is_given and one is authority.generations[-1])
        source = keys.record.given[f"{authority.name}-ca"].certificate if not is_ours else str(
            keys.directory / f"{name}.crt"
        )
        state, note = _standing(one, signing, now, within, is_ours)
        yield _row(name, authority.part.purpose, one.pair.leaf, state, note, source, is_ours, authority=True)


def _standing(
    one: Generation, signing: Generation | None, now: datetime, within: timedelta, is_ours: bool
) -> tuple[str, str]:
    if now >= one.ends:
        return EXPIRED, ""
    if one.signs > now:
        return ANNOUNCED, f"signs from {one.signs:%Y-%m-%d} on"
    if signing is not None and one.number < signing.number:
        return BELIEVED, f"signs no more, is believed until {one.ends:%Y-%m-%d}"
    if one.ends - now < within and not is_ours:
        return EXPIRING, "put its successor into its place"
    if not one.pair.key:
        return GOOD if one.until is None else BELIEVED, "signs nothing: its key is not here"
    return GOOD, ""


def _leaves(keys: Pki, now: datetime, within: timedelta) -> Iterator[Row]:
    for leaf in leaves(keys.record.database):
        pair, is_ours = keys.leaves.get(leaf.name), keys.renews(leaf.name)
        source = str(keys.directory / f"{leaf.name}.crt")
        if leaf.name in keys.record.given:
            source = keys.record.given[leaf.name].certificate
        if pair is None:
            yield Row(leaf.name, leaf.purpose, MISSING, "the next start makes it" if is_ours else "", source=source)
            continue
        signing = keys.authorities[leaf.authority].signing(now)
        state, note = GOOD, ""
        if now >= pair.ends:
            state, note = EXPIRED, "a running server renews it" if is_ours else "put another into its place"
        elif not pair.key or not fits(pair):
            state, note = BROKEN, "certificate and key do not belong together"
        elif is_ours and signing is not None and not issued_by(pair.leaf, signing.pair.leaf):
            state, note = DUE, "its authority signs no more: a running server renews it"
        elif pair.ends - now < within:
            state, note = EXPIRING, "a running server renews it" if is_ours else "put another into its place"
        elif is_ours and pair.ends - now <= renewal_before(pair):
            state, note = DUE, "a running server renews it"
        yield _row(leaf.name, leaf.purpose, pair.leaf, state, note, source, is_ours)


def _row(
    name: str, purpose: str, certificate: x509.Certificate, state: str, note: str, source: str, is_ours: bool,
    *, authority: bool = False,
) -> Row:  # fmt: skip
    return Row(
        name, purpose, state, note, certificate.subject.rfc4514_string(), common_name(certificate.issuer),
        f"{certificate.serial_number:x}", certificate.not_valid_before_utc, certificate.not_valid_after_utc,
        source if source.startswith("env:") else str(Path(source)), authority, "ksql" if is_ours else "operator",
    )  # fmt: skip


def common_name(name: x509.Name) -> str:
    """The name people know it by."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
