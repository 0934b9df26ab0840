"""What types and fields are called, so that a name once given stays.

A built-in kind has its own name (`Deployment`); where ksql's schema means something else by it, `Kube` goes before
it (`KubeNode`, `KubeEvent`). Other definitions of upstream are called as in Go; where two packages have one name, the
group goes before it (`RbacSubject`), and a kind keeps it against a mere part. Custom kinds come after, the oldest
first: one that finds its name taken has its group behind it (`Service_serving_knative_dev`). So what is added later
renames nothing.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ksql.schema.catalogue import Catalogue
from ksql.schema.derive import closure
from ksql.schema.resources import ResourceType
from ksql.serve.gql.typed.shapes import Field, Shape

# Behind a type's name these make the names of others.
SUFFIXES = ("", "Connection", "Edge", "Where", "ListWhere")


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource in its preferred version: its type's name, its roots' names, and the shape of its objects.

    `fields` are those of the shape under the names that they have beside what every object has.
    """

    type: ResourceType
    name: str
    single: str
    plural: str
    shape: Shape
    fields: Mapping[str, Field]


class Taken:
    """The names that are given, with those made of them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._taken = set(names)

    def __contains__(self, name: str) -> bool:
        return any(name + suffix in self._taken for suffix in SUFFIXES)

    def claim(self, *wanted: str) -> str:
        """The first of these that is free, or the last with a number behind it; it is taken from now on."""
        name = next((name for name in wanted if name not in self), None)
        number = 2
        while name is None:
            numbered = f"{wanted[-1]}_{number}"
            name = None if numbered in self else numbered
            number += 1
        self._taken.update(name + suffix for suffix in SUFFIXES)
        return name

    def copy(self) -> "Taken":
        return Taken(self._taken)


def preferred(types: Iterable[ResourceType]) -> list[ResourceType]:
    """Each resource whose objects can be read, once, in its preferred version."""
    found: dict[str, ResourceType] = {}
    for type in types:
        # Where two groups show the same objects (events), the one that they are kept under has the type.
        if "get" in type.verbs and "list" in type.verbs and type.key == type.qualified:
            found.setdefault(type.key, type)
    return list(found.values())


def kind_names(types: Iterable[ResourceType], taken: Taken) -> dict[str, str]:
    """Built-in kinds' names by resource key."""
    return {type.key: taken.claim(type.kind, f"Kube{type.kind}") for type in types}


def definition_names(catalogue: Catalogue, kinds: Mapping[str, str], taken: Taken) -> dict[str, str]:
    """What the types of upstream's definitions are called."""
    roots = {name: key for key in kinds if (name := catalogue.definition_name(catalogue.by_key(key).gvk))}
    inner = sorted(set(closure(catalogue.definitions, list(roots))) - set(roots))
    often = Counter(_last(name) for name in inner)
    names = {root: kinds[key] for root, key in roots.items()}
    for name in inner:
        last, group = _last(name), name.split(".")[-3]
        full = group[:1].upper() + group[1:] + last
        names[name] = taken.claim(full) if often[last] > 1 else taken.claim(last, full)
    return names


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def custom_name(type: ResourceType, taken: Taken) -> str:
    """A custom kind's name."""
    kind = re.sub(r"[^A-Za-z0-9]", "_", type.kind)
    group = re.sub(r"[^A-Za-z0-9]", "_", type.group)
    return taken.claim(kind[:1].upper() + kind[1:], f"{kind[:1].upper()}{kind[1:]}_{group}")


def own_fields(shape: Shape, common: Collection[str]) -> dict[str, Field]:
    """A kind's fields: one that is called like what every object has gets `Value` behind it."""
    found: dict[str, Field] = {}
    for name, field in shape.fields.items():
        if name not in ("apiVersion", "kind"):
            found[f"{name}Value" if name in common else name] = field
    return found


def root_names(name: str, type: ResourceType, taken: Collection[str]) -> tuple[str, str]:
    """What the fields for one and for many are called: `replicaSet`, `replicaSets`."""
    single = _lowered(name)
    stem = len(_common(type.kind.lower(), type.resource))
    kept = len(name) - len(type.kind) if name.endswith(type.kind) else 0
    # The resource's own plural behind as much of the kind as it shares: networkPolic-ies, ingress-es.
    plural = single[: kept + stem] + type.resource[stem:] if stem and name.endswith(type.kind) else f"{single}s"
    if single in taken:
        single = f"{single}Object"
    if plural in (single, *taken):
        plural = f"{single}List"
    return single, plural


def _lowered(name: str) -> str:
    """The first word in lower case: CSIDriver is csiDriver, APIService apiService."""
    match = re.match(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]+$|[A-Z]", name)
    head = match[0] if match else ""
    return head.lower() + name[len(head) :]


def _common(left: str, right: str) -> str:
    at = 0
    while at < min(len(left), len(right)) and left[at] == right[at]:
        at += 1
    return left[:at]
