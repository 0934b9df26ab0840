"""Rules of volumes that are files made from objects: config maps, secrets, pod fields, tokens, certificates."""

from collections.abc import Callable, Mapping
from typing import Any

from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import forbidden, required, too_long, unsupported, wrong
from ksql.schema.metadata import ANNOTATIONS_BYTES_MAX
from ksql.schema.rules.certificates import check_signer
from ksql.schema.rules.checks import complain, needed, selector
from ksql.schema.rules.references import VOLUME_FIELD_PATHS, check_field_ref, check_resource_ref

Structure = Mapping[str, Any]

FILE_MODE_MAX = 0o777
MODE_WORDS = "must be a number between 0 and 0777 (octal), both inclusive"
TOKEN_SECONDS_MIN = 600
TOKEN_SECONDS_MAX = 1 << 32
CERTIFICATE_SECONDS_MIN = 3600
CERTIFICATE_SECONDS_MAX = 91 * 86400
# Certificates that Kubernetes itself signs live a day at most.
CERTIFICATE_SECONDS_MAX_OURS = 86400
KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")

_CONFLICT = "conflicting duplicate paths"


def check_no_backsteps(text: str, path: str, out: list[Cause]) -> None:
    if ".." in text.split("/"):
        out.append(wrong(path, text, "must not contain '..'"))


def check_descending(text: str, path: str, out: list[Cause]) -> None:
    """A path below the one it is joined to."""
    if text.startswith("/"):
        out.append(wrong(path, text, "must be a relative path"))
    check_no_backsteps(text, path, out)


def check_unreserved(text: str, path: str, out: list[Cause]) -> None:
    """As `check_descending`; names that begin with two dots are the kubelet's own."""
    check_descending(text, path, out)
    if text.startswith("..") and not text.startswith("../"):
        out.append(wrong(path, text, "must not start with '..'"))


def check_mode(holder: Structure, field: str, path: str, out: list[Cause]) -> None:
    mode = holder.get(field)
    if mode is not None and not 0 <= mode <= FILE_MODE_MAX:
        out.append(wrong(f"{path}.{field}", mode, MODE_WORDS))


def _check_item(item: Structure, path: str, out: list[Cause]) -> None:
    needed(item, path, ("key", "path"), out)
    check_unreserved(item.get("path") or "", f"{path}.path", out)
    check_mode(item, "mode", path, out)


def _check_files(source: Structure, name: str, path: str, out: list[Cause]) -> None:
    needed(source, path, (name,), out)
    check_mode(source, "defaultMode", path, out)
    for index, item in enumerate(source.get("items") or ()):
        _check_item(item, f"{path}.items[{index}]", out)


def check_config_map(source: Structure, path: str, out: list[Cause]) -> None:
    _check_files(source, "name", path, out)


def check_secret(source: Structure, path: str, out: list[Cause]) -> None:
    _check_files(source, "secretName", path, out)


def check_downward(source: Structure, path: str, out: list[Cause]) -> None:
    check_mode(source, "defaultMode", path, out)
    for item in source.get("items") or ():
        _check_field_file(item, path, out)


def _check_field_file(item: Structure, path: str, out: list[Cause]) -> None:
    """One file of the downward API; its messages name the volume, not the file."""
    needed(item, path, ("path",), out)
    check_unreserved(item.get("path") or "", f"{path}.path", out)
    if "fieldRef" in item:
        check_field_ref(item["fieldRef"], f"{path}.fieldRef", VOLUME_FIELD_PATHS, out)
        if "resourceFieldRef" in item:
            words = "fieldRef and resourceFieldRef can not be specified simultaneously"
            out.append(wrong(path, "resource", words))
    elif "resourceFieldRef" in item:
        check_resource_ref(item["resourceFieldRef"], f"{path}.resourceFieldRef", out, in_volume=True)
    else:
        out.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    check_mode(item, "mode", path, out)


# --- several in one --------------------------------------------------------------------------------


class _Paths:
    """The files of one projected volume: no two may have one path."""

    def __init__(self, path: str, out: list[Cause]) -> None:
        self.path, self.out = path, out
        self._taken: set[str] = set()

    def take(self, text: str, shown: str) -> None:
        if text in self._taken:
            self.out.append(wrong(self.path, shown, _CONFLICT))
        self._taken.add(text)


def check_projected(volume: Structure, path: str, out: list[Cause]) -> None:
    check_mode(volume, "defaultMode", path, out)
    paths = _Paths(path, out)
    for index, source in enumerate(volume.get("sources") or ()):
        where = f"{path}.sources[{index}]"
        given = [kind for kind in _PROJECTIONS if kind in source]
        for kind in given:
            _PROJECTIONS[kind](source[kind], f"{where}.{kind}", paths, out)
        if len(given) > 1:
            out.append(forbidden(where, "may not specify more than 1 volume type per source"))


def _objects(source: Structure, path: str, paths: _Paths, out: list[Cause]) -> None:
    needed(source, path, ("name",), out)
    for index, item in enumerate(source.get("items") or ()):
        _check_item(item, f"{path}.items[{index}]", out)
        if item.get("path"):
            paths.take(item["path"], source.get("name", ""))


def _fields(source: Structure, path: str, paths: _Paths, out: list[Cause]) -> None:
    for item in source.get("items") or ():
        _check_field_file(item, path, out)
        if item.get("path"):
            paths.take(item["path"], item["path"])


def _token(source: Structure, path: str, paths: _Paths, out: list[Cause]) -> None:
    seconds, where = source.get("expirationSeconds", 0), f"{path}.expirationSeconds"
    if seconds < TOKEN_SECONDS_MIN:
        out.append(wrong(where, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > TOKEN_SECONDS_MAX:
        out.append(wrong(where, seconds, "may not specify a duration larger than 2^32 seconds"))
    # The path of a token stands, in messages, directly in the volume.
    if not source.get("path"):
        out.append(required(f"{paths.path}.path"))
    else:
        check_unreserved(source["path"], f"{paths.path}.path", out)


def _trust_bundle(source: Structure, path: str, paths: _Paths, out: list[Cause]) -> None:
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        out.append(wrong(path, source, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            out.append(required(f"{path}.name", "must be a valid object name"))
        complaints = [f"not a valid clustertrustbundlename: {text}" for text in _bundle_complaints(name)]
        complain(f"{path}.name", name, tuple(complaints), out)
        if "labelSelector" in source:
            words = "labelSelector must be unset if name is specified"
            out.append(wrong(f"{path}.labelSelector", source["labelSelector"], words))
    elif signer is not None:
        if not signer:
            out.append(required(f"{path}.signerName", "must be a valid signer name"))
        check_signer(signer, f"{path}.signerName", out)
        selector(source.get("labelSelector") or {}, f"{path}.labelSelector", out)
    else:
        out.append(required(path, "either name or signerName must be specified"))
    where = source.get("path", "")
    if not where:
        out.append(required(f"{path}.path"))
    check_unreserved(where, f"{path}.path", out)
    paths.take(where, where)


def _bundle_complaints(name: str) -> names.Complaints:
    """A bundle of one signer carries the signer's name before its own."""
    return names.subdomain(name.rpartition(":")[2])


def _certificate(source: Structure, path: str, paths: _Paths, out: list[Cause]) -> None:
    signer, kind = source.get("signerName", ""), source.get("keyType", "")
    check_signer(signer, f"{path}.signerName", out)
    _check_user_annotations(source.get("userAnnotations") or {}, f"{path}.userAnnotations", out)
    if kind not in KEY_TYPES:
        out.append(unsupported(f"{path}.keyType", kind, KEY_TYPES))
    seconds, where = source.get("maxExpirationSeconds"), f"{path}.maxExpirationSeconds"
    if seconds is not None:
        ours = signer.startswith("kubernetes.io/")
        longest = CERTIFICATE_SECONDS_MAX_OURS if ours else CERTIFICATE_SECONDS_MAX
        if seconds < CERTIFICATE_SECONDS_MIN:
            out.append(wrong(where, seconds, "if provided, maxExpirationSeconds must be >= 3600"))
        if seconds > longest:
            out.append(wrong(where, seconds, f"if provided, maxExpirationSeconds must be <= {longest}"))
    given = False
    for field in ("credentialBundlePath", "keyPath", "certificateChainPath"):
        if text := source.get(field):
            given = True
            check_unreserved(text, f"{path}.{field}", out)
            paths.take(text, text)
    if not given:
        words = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        out.append(required(path, words))


def _check_user_annotations(annotations: Mapping[str, str], path: str, out: list[Cause]) -> None:
    for key in annotations:
        if complaints := names.qualified(key.lower()):
            complain(path, key.lower(), complaints, out)
        elif "/" not in key:
            out.append(wrong(path, key.lower(), 'must be a domain-prefixed key (such as "acme.io/foo")'))
    if sum(len(key) + len(text) for key, text in annotations.items()) > ANNOTATIONS_BYTES_MAX:
        out.append(too_long(path, ANNOTATIONS_BYTES_MAX))


_PROJECTIONS: Mapping[str, Callable[[Structure, str, _Paths, list[Cause]], None]] = {
    "secret": _objects,
    "configMap": _objects,
    "downwardAPI": _fields,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _trust_bundle,
    "podCertificate": _certificate,
}
