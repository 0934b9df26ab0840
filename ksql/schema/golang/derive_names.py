"""Maintenance: derive `names_go.json` from the type declarations of a Kubernetes source tree.

    python -m ksql.schema.golang.derive_names path/to/k8s.io > names_go.json

Go's decoder names the type it would have had, and the structures on the way that stand inside others without a name
of their own in JSON. This table holds both for every published structure. It is made by hand when a new minor is
served, never by the server.

One line a structure (`core.v1.Volume`), its fields parted by spaces: `<JSON name>:<type in Go>` where that has a name
and is no structure, `<JSON name>><structure>` where the field stands inside one.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

_PUBLISHED = (
    ("api", "*/v*/types.go"),
    ("apimachinery", "pkg/apis/meta/v1/types.go"),
    ("apiextensions-apiserver", "pkg/apis/apiextensions/v1/types*.go"),
    ("kube-aggregator", "pkg/apis/apiregistration/v1/types.go"),
)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
_NAMED = re.compile(r"^type (\w+) (?:string|\[\]\w+|map\[\w+\][\w.]+)$", re.M)
_ALIAS = re.compile(r"^type (\w+) = (\w+)$", re.M)
_FIELD = re.compile(r"^\t(\w+)\s+(\S+)\s+`[^`]*json:\"([^\",]*)", re.M)
_EMBEDDED = re.compile(r"^\t([\w.]+)\s+`[^`]*json:\",inline", re.M)
# What other packages are called where they are imported, and where their types are declared.
_IMPORTED = {"v1": "core.v1", "corev1": "core.v1", "apiv1": "core.v1", "metav1": "meta.v1"}


class Package:
    """The structures of one version, and the names of its types that are none."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"//[^\n]*", "", text)
        self.structs = dict(_STRUCT.findall(text))
        self.names = set(_NAMED.findall(text))
        self.aliases = dict(_ALIAS.findall(text))


def packages(root: Path) -> dict[str, Package]:
    texts: dict[str, str] = {}
    for part, pattern in _PUBLISHED:
        for path in sorted((root / part).glob(pattern)):
            key = ".".join(path.parent.parts[-2:])
            texts[key] = texts.get(key, "") + path.read_text()
    return {key: Package(text) for key, text in texts.items()}


def go_type(known: dict[str, Package], key: str, text: str) -> str:
    """The type as Go prints it, if its name is of interest; empty otherwise."""
    text = text.lstrip("*")
    if text.startswith("[]"):
        inner = go_type(known, key, text[2:])
        return f"[]{inner}" if inner else ""
    if text == "types.UID":
        return text
    prefix, _, name = text.rpartition(".")
    home = _IMPORTED.get(prefix) if prefix else key
    if home is None or home not in known:
        return ""
    name = known[home].aliases.get(name, name)
    return f"{home.rpartition('.')[2]}.{name}" if name in known[home].names else ""


def fields(known: dict[str, Package], key: str, body: str, inside: str = "") -> Iterator[str]:
    for _, text, name in _FIELD.findall(body):
        if not name:
            continue
        if inside:
            yield f"{name}>{inside}"
        if found := go_type(known, key, text):
            yield f"{name}:{found}"
    for text in _EMBEDDED.findall(body):
        prefix, _, name = text.rpartition(".")
        home = _IMPORTED.get(prefix) if prefix else key
        # What older versions borrow from newer ones is described there.
        if name in ("TypeMeta", "ListMeta") or home is None or name not in known[home].structs:
            continue
        yield from fields(known, home, known[home].structs[name], f"{inside}.{name}" if inside else name)


def derive(root: Path) -> dict[str, str]:
    known = packages(root)
    lines = {
        f"{key}.{name}": " ".join(fields(known, key, body))
        for key, package in known.items()
        for name, body in package.structs.items()
    }
    return {name: line for name, line in sorted(lines.items()) if line}


def main() -> None:
    rows = ",\n".join(orjson.dumps({name: line}).decode()[1:-1] for name, line in derive(Path(sys.argv[1])).items())
    sys.stdout.write(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
