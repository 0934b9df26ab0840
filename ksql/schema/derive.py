"""From the published packages to one compact model per minor, kept on disk.

`kubernetes-validate` holds every minor's schema with all `x-kubernetes-*` keys, as an invertible rewrite of
upstream's OpenAPI definitions; `lightkube-models` holds paths and verbs, as Python source that is read, never
run. One release of the latter serves every minor from 1.32 up: verbs and paths of a GA resource never change,
so filtering by the kinds that the minor's own schema defines leaves what that minor serves (checked against
the 1.32 and 1.35 releases; what is gated inside GA versions stands in `facts.SINCE`).

The cache file is two JSON lines: rows, needed at once, and definitions, parsed when first wanted.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ksql.schema import facts
from ksql.schema.resources import group_resource

# Raise whenever what is derived changes, so that files of older programs are not read.
FORMAT = 2
PACKAGES = ("kubernetes-validate", "lightkube-models")
REF = "#/components/schemas/"

_REF_PUBLISHED = "#/$defs/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Kinds whose plural is the parent's but whose body is elsewhere, and the bodies every group's paths use.
_ALWAYS = (f"{_META}DeleteOptions", f"{_META}Status", f"{_META}WatchEvent", f"{_META}Patch")

# The published schema spells these two as oneOf; OpenAPI v3 as kube-apiserver prints it:
_OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "description": "IntOrString is an int32 or a string: a number, or a percentage or name.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "description": "Quantity is an amount with an optional suffix: 500m, 2, 1.5Gi.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
}

_VERBS = {"post": "create", "put": "update"}


class DerivationError(RuntimeError):
    """The minor is unknown to the installed packages, or they are missing."""


@dataclass(frozen=True, slots=True)
class Model:
    """One minor: rows (see `Row`) and the JSON text of its definitions."""

    rows: Sequence[dict[str, Any]]
    definitions: bytes


def load(minor: str, cache: Path | None = None) -> Model:
    """The minor's model from the cache, derived first when there is none or it is damaged."""
    path = (cache or default_cache()) / f"catalogue-{minor}-{fingerprint()}.json"
    model = read(path)
    if model is None:
        model = derive(minor)
        write(path, model)
    return model


def default_cache() -> Path:
    """Where the XDG base directory specification puts what can be computed again."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "ksql"


def fingerprint() -> str:
    """Short name of all that the derived model depends on besides the minor."""
    parts = [str(FORMAT), *(f"{name}={importlib.metadata.version(name)}" for name in PACKAGES)]
    # What is written here by hand goes into the model as much as what the packages say.
    sources = [Path(source).read_bytes() for source in (__file__, facts.__file__)]
    return hashlib.sha256(b";".join([*(part.encode() for part in parts), *sources])).hexdigest()[:12]


def read(path: Path) -> Model | None:
    """The cached model; None when the file is missing, torn or not ours."""
    try:
        head, _, definitions = path.read_bytes().partition(b"\n")
        header = orjson.loads(head)
        if header["format"] == FORMAT and header["crc"] == zlib.crc32(definitions):
            return Model(header["rows"], definitions)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def write(path: Path, model: Model) -> None:
    """Keep the model. A reader sees the whole file or none; a place without room costs time only."""
    header = {"format": FORMAT, "crc": zlib.crc32(model.definitions), "rows": model.rows}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps(header) + b"\n" + model.definitions)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
    except OSError:
        return


def minors() -> list[str]:
    """The minors that can be served with the installed packages, oldest first."""
    folders = _package("kubernetes_validate").glob("kubernetes-json-schema/v1.*.0-local")
    found = [folder.name.removeprefix("v").removesuffix(".0-local") for folder in folders]
    return sorted((minor for minor in found if _at_least(minor, facts.MINOR_MIN)), key=_number)


def derive(minor: str) -> Model:
    """Read the packages. Takes about a second; `load` does it once."""
    if minor not in minors():
        raise DerivationError(f"no schema for Kubernetes {minor}: choose one of {', '.join(minors())}")
    definitions = _definitions(minor)
    served = _kinds(definitions)
    rows = _rows(minor, served)
    roots = [row["definition"] for row in rows if row["definition"]]
    for row in rows:
        roots += [sub["definition"] for sub in row["subresources"] if sub["definition"]]
        if "list" in row["verbs"]:
            roots.append(served[(row["group"], row["version"], row["kind"])] + "List")
    kept = closure(definitions, [*roots, *(name for name in _ALWAYS if name in definitions)])
    return Model(rows, orjson.dumps({name: definitions[name] for name in sorted(kept)}))


def closure(definitions: Mapping[str, Any], roots: Iterable[str]) -> dict[str, None]:
    """The roots that exist and every definition that can be reached from them, in the order found."""
    found: dict[str, None] = {}
    waiting = [name for name in roots if name in definitions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += [ref for ref in references(definitions[name]) if ref not in found]
    return found


def references(schema: Any) -> Iterator[str]:
    """Names of the definitions a schema refers to. A property that is called $ref is no reference."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(REF)
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


# --- kubernetes-validate ---------------------------------------------------------------------------


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise DerivationError(f"the package {name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def _definitions(minor: str) -> dict[str, Any]:
    folder = _package("kubernetes_validate") / "kubernetes-json-schema" / f"v{minor}.0-local"
    published = orjson.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return {**{name: _restored(schema) for name, schema in published.items()}, **_OVERRIDES}


def _restored(schema: Mapping[str, Any]) -> dict[str, Any]:
    """One schema as upstream wrote it: `[T, "null"]` was T, and apiVersion and kind had no enum."""
    out = dict(schema)
    kind = out.get("type")
    if isinstance(kind, list):
        out["type"] = next(t for t in kind if t != "null")
    if isinstance(ref := out.get("$ref"), str):
        out["$ref"] = REF + ref.removeprefix(_REF_PUBLISHED)
    for key in ("items", "additionalProperties"):
        if isinstance(out.get(key), dict):
            out[key] = _restored(out[key])
    if isinstance(properties := out.get("properties"), dict):
        out["properties"] = {name: _restored(value) for name, value in properties.items()}
        for name in ("apiVersion", "kind"):
            if name in properties:
                out["properties"][name].pop("enum", None)
    return out


def _kinds(definitions: Mapping[str, Any]) -> dict[tuple[str, str, str], str]:
    """(group, version, kind) to the definition that carries it, where it carries only one."""
    found = {}
    for name, schema in definitions.items():
        tags = schema.get("x-kubernetes-group-version-kind", [])
        if len(tags) == 1:
            found[(tags[0]["group"], tags[0]["version"], tags[0]["kind"])] = name
    return found


# --- lightkube-models ------------------------------------------------------------------------------


def _rows(minor: str, served: Mapping[tuple[str, str, str], str]) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    subresources = []
    for info in published_rows(_package("lightkube") / "resources"):
        if not _stable(info["version"]) or not _open(minor, info):
            continue
        if info["action"]:
            subresources.append(info)
        elif (kind := (info["group"], info["version"], info["kind"])) in served:
            rows[(info["group"], info["version"], info["resource"])] = _row(minor, info, served[kind])
    for info in subresources:
        row = rows.get((info["group"], info["version"], info["resource"]))
        if row is not None:
            row["subresources"].append(_subresource(info, served))
    for path, (kind_name, verbs) in facts.CONNECT.items():
        resource, _, action = path.partition("/")
        rows[("", "v1", resource)]["subresources"].append(
            {
                "name": action,
                "group": "",
                "version": "v1",
                "kind": kind_name,
                "verbs": verbs,
                "definition": "",
            }
        )
    for row in rows.values():
        row["subresources"].sort(key=lambda sub: sub["name"])
    return [rows[key] for key in sorted(rows, key=_place)]


def published_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Every `ApiInfo(...)` of the package's source, as plain values."""
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and (info := _api_info(node)) is not None:
                namespaced = any(
                    isinstance(base, ast.Attribute) and base.attr.startswith("Namespaced")
                    for base in node.bases
                )
                yield {**info, "namespaced": namespaced}


def _api_info(node: ast.ClassDef) -> dict[str, Any] | None:
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            arguments = {word.arg: word.value for word in statement.value.keywords if word.arg}
            if "resource" not in arguments or "plural" not in arguments:
                continue
            body = _definition_arguments(arguments["resource"])
            parent = _definition_arguments(arguments["parent"]) if "parent" in arguments else body
            action = ast.literal_eval(arguments["action"]) if "action" in arguments else ""
            return {
                "group": parent[0],
                "version": parent[1],
                "kind": body[2],
                "body": body,
                "resource": ast.literal_eval(arguments["plural"]),
                "verbs": _verbs(ast.literal_eval(arguments["verbs"])),
                "action": action,
            }
    return None


def _definition_arguments(node: ast.expr) -> tuple[str, str, str]:
    assert isinstance(node, ast.Call)
    group, version, kind = (ast.literal_eval(argument) for argument in node.args)
    return group, version, kind


def _verbs(published: Sequence[str]) -> list[str]:
    return sorted({_VERBS.get(verb, verb) for verb in published if not verb.startswith("global_")})


def _row(minor: str, info: Mapping[str, Any], definition: str) -> dict[str, Any]:
    group, version, resource = info["group"], info["version"], info["resource"]
    qualified = group_resource(group, resource)
    stored_key, stored_version = facts.STORED_AS.get(f"{group}/{version}/{resource}", ("", ""))
    return {
        "group": group,
        "version": version,
        "resource": resource,
        "singular": facts.SINGULAR.get(qualified, info["kind"].lower()),
        "kind": info["kind"],
        "namespaced": info["namespaced"],
        "verbs": [verb for verb in info["verbs"] if verb not in facts.WITHOUT.get(qualified, ())],
        "short_names": facts.SHORT_NAMES.get(qualified, ()),
        "categories": facts.CATEGORIES.get(qualified, ()),
        "latest": qualified in facts.LATEST_ONLY,
        "deprecated": _deprecated(minor, qualified),
        "storage_key": stored_key,
        "storage_version": stored_version,
        "definition": definition,
        "subresources": [],
    }


def _deprecated(minor: str, qualified: str) -> str:
    since, warning = facts.DEPRECATED.get(qualified, ("", ""))
    return warning if since and _at_least(minor, since) else ""


def _subresource(info: Mapping[str, Any], served: Mapping[tuple[str, str, str], str]) -> dict[str, Any]:
    group, version, kind = info["body"]
    if info["action"] == "log":
        kind = "Pod"
    definition = served.get((group, version, kind), "")
    return {
        "name": info["action"],
        "group": group,
        "version": version,
        "kind": kind,
        "verbs": info["verbs"],
        "definition": definition,
    }


def _stable(version: str) -> bool:
    return "alpha" not in version and "beta" not in version


def _open(minor: str, info: Mapping[str, Any]) -> bool:
    path = f"{info['resource']}/{info['action']}" if info["action"] else info["resource"]
    since = facts.SINCE.get(path)
    return since is None or (since != "never" and _at_least(minor, since))


def _number(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))


def _at_least(minor: str, other: str) -> bool:
    return _number(minor) >= _number(other)


def _place(key: tuple[str, str, str]) -> tuple[Any, ...]:
    """Groups in kube-apiserver's order, newest version first, resources by name."""
    group, version, resource = key
    order = facts.GROUP_ORDER
    position = order.index(group) if group in order else len(order)
    versions = facts.VERSION_ORDER.get(group, (version,))
    return position, group, versions.index(version), resource
