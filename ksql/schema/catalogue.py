"""The catalogue: every resource one Kubernetes minor serves and every custom one, and the schema of each.

Pipelines, doors and clients ask it what a path, a kind or a user's word means; documents are checked
against its definitions. It has two layers. The lower one is the minor's: read-only, loaded in milliseconds
from the derived model (`derive.py`), shared by all catalogues of a process. The upper one holds the kinds
that CustomResourceDefinitions define, and is put in place anew, as a whole, whenever one of those changes
(`serve`): who holds the catalogue sees the new kinds at the next question, and listeners are told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from ksql.schema import derive
from ksql.schema.resources import GroupVersionKind, ResourceType, Retention, Subresource

MINOR_DEFAULT = "1.35"

Definition = Mapping[str, Any]


class Builtin:
    """What one minor serves by itself. `types` come in kube-apiserver's order: group, version, then name."""

    def __init__(self, minor: str, model: derive.Model) -> None:
        self.minor = minor
        self.types: Sequence[ResourceType] = tuple(_type(row) for row in model.rows)
        self._text = model.definitions
        self.names = {
            (row["group"], row["version"], row["kind"]): row["definition"] for row in _bodies(model.rows)
        }
        # What other modules compile from the definitions (validators, plans), kept as long as they are.
        self.compiled: dict[tuple[str, ...], Any] = {}

    @cached_property
    def definitions(self) -> Mapping[str, Definition]:
        """All definitions: upstream's names, references as `#/components/schemas/…`."""
        found: dict[str, Definition] = orjson.loads(self._text)
        return found


class Catalogue:
    """What one cluster serves: the minor's own kinds, then the custom ones by group, version and name."""

    def __init__(self, builtin: Builtin) -> None:
        self._builtin = builtin
        self.minor = builtin.minor
        # Depends on the minor alone, so it outlives every change of the custom kinds.
        self.compiled = builtin.compiled
        self._listeners: list[Callable[[], None]] = []
        self._lay(())

    def _lay(self, custom: Sequence[ResourceType]) -> None:
        self.custom: Sequence[ResourceType] = custom
        self.types: Sequence[ResourceType] = (*self._builtin.types, *custom)
        # What is printed of the catalogue as a whole (discovery, OpenAPI), gone with the next change of it.
        self.printed: dict[tuple[object, ...], Any] = {}
        self._by_path = {(t.group, t.version, t.resource): t for t in self.types}
        self._by_kind = {(t.group, t.version, t.kind): t for t in self.types}
        self._by_key: dict[str, ResourceType] = {}
        self._groups: dict[str, list[str]] = {}
        self._words: Mapping[str, Sequence[ResourceType]] | None = None
        self._definitions: Mapping[str, Definition] | None = None
        for found in self.types:
            # The first version in order is the preferred one.
            self._by_key.setdefault(found.qualified, found)
            versions = self._groups.setdefault(found.group, [])
            if found.version not in versions:
                versions.append(found.version)

    def serve(self, custom: Sequence[ResourceType]) -> None:
        """Put these custom kinds in the place of those served so far, and tell who listens."""
        self._lay(tuple(custom))
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever other custom kinds are served."""
        self._listeners.append(listener)

    def is_builtin(self, group: str, version: str) -> bool:
        """Whether the minor itself serves this version of the group."""
        return any((t.group, t.version) == (group, version) for t in self._builtin.types)

    def find(self, group: str, version: str, resource: str) -> ResourceType | None:
        """What a path names: /apis/{group}/{version}/{resource}."""
        return self._by_path.get((group, version, resource))

    def kind(self, group: str, version: str, kind: str) -> ResourceType | None:
        """What a document's apiVersion and kind name."""
        return self._by_kind.get((group, version, kind))

    def by_key(self, key: str) -> ResourceType:
        """The resource of a key (`pods`, `deployments.apps`) in its preferred version, or `KeyError`."""
        return self._by_key[key]

    def resolve(self, text: str) -> ResourceType | None:
        """What a user means, as kubectl reads it: deploy, Deployment, deployments.v1.apps."""
        word, _, rest = text.lower().partition(".")
        candidates = self._spoken().get(word, ())
        if not rest:
            return candidates[0] if candidates else None
        version, _, group = rest.partition(".")
        for found in candidates:
            if found.group == rest or (found.version == version and found.group == group):
                return found
        # kubectl takes the beginning of a group's name for the group where nothing fits exactly.
        return next((found for found in candidates if found.group.startswith(rest)), None)

    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group to its served versions, preferred first, in kube-apiserver's order of groups."""
        return self._groups

    def schema(self, type: ResourceType) -> Definition:
        """The definition of the resource's objects."""
        name = self.definition_name(type.gvk)
        if name is None:
            raise LookupError(f"no definition for {type.gvk}")
        return self.definitions[name]

    def definition_name(self, gvk: GroupVersionKind) -> str | None:
        """The name of the definition that a kind's documents follow, subresource bodies included."""
        name = self._builtin.names.get((gvk.group, gvk.version, gvk.kind))
        if name is None and (found := self._by_kind.get((gvk.group, gvk.version, gvk.kind))) is not None:
            name = found.custom.definition_name if found.custom is not None else None
        return name or None

    def definition(self, name: str) -> Definition:
        """A definition by its name or by the `$ref` that points to it; `KeyError` when there is none."""
        return self.definitions[name.removeprefix(derive.REF)]

    @property
    def definitions(self) -> Mapping[str, Definition]:
        """All definitions: upstream's names, references as `#/components/schemas/…`."""
        if self._definitions is None:
            versions = [found.custom for found in self.custom if found.custom is not None]
            published = {name: schema for one in versions for name, schema in one.definitions().items()}
            builtin = self._builtin.definitions
            self._definitions = {**published, **builtin} if published else builtin
        return self._definitions

    def _spoken(self) -> Mapping[str, Sequence[ResourceType]]:
        if self._words is None:
            words: dict[str, list[ResourceType]] = {}
            for found in self.types:
                names = (found.resource, found.singular, *found.short_names, found.kind.lower())
                for name in dict.fromkeys(names):
                    words.setdefault(name, []).append(found)
            self._words = words
        return self._words


_LOADED: dict[tuple[str, str], Builtin] = {}


def load(minor: str = MINOR_DEFAULT, cache: Path | None = None) -> Catalogue:
    """A catalogue of a minor such as "1.35", without custom kinds yet; the minor is loaded once per process.

    `cache` is the folder of derived models, by default `ksql` in the user's cache folder. Raises
    `derive.DerivationError` for a minor the installed packages do not know.
    """
    key = (minor, str(cache or ""))
    if key not in _LOADED:
        _LOADED[key] = Builtin(minor, derive.load(minor, cache))
    return Catalogue(_LOADED[key])


def _bodies(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for row in rows:
        yield row
        yield from (sub for sub in row["subresources"] if sub["definition"])


def _type(row: Mapping[str, Any]) -> ResourceType:
    subresources = {
        sub["name"]: Subresource(
            sub["name"], GroupVersionKind(sub["group"], sub["version"], sub["kind"]), tuple(sub["verbs"])
        )
        for sub in row["subresources"]
    }
    return ResourceType(
        group=row["group"],
        version=row["version"],
        resource=row["resource"],
        singular=row["singular"],
        kind=row["kind"],
        namespaced=row["namespaced"],
        verbs=tuple(row["verbs"]),
        short_names=tuple(row["short_names"]),
        categories=tuple(row["categories"]),
        subresources=subresources,
        retention=Retention.LATEST if row["latest"] else Retention.FULL,
        storage_key=row["storage_key"],
        storage_version=row["storage_version"],
        deprecated=row["deprecated"],
    )
