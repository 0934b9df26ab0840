"""What a path means: a resource, an object, a subresource, or a page of discovery. Pure.

`/api/v1/…` is the core group, `/apis/GROUP/VERSION/…` every other. Trailing slashes are tolerated; the old
`…/watch/…` prefix still means a watch. What is not served gets kube-apiserver's words.
"""

from dataclasses import dataclass

from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import BadRequestError
from ksql.schema.resources import ResourceType


@dataclass(frozen=True, slots=True)
class Target:
    """A path below a group's version. `name` is empty for a collection."""

    type: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""  # what follows a subresource: pods/x/proxy/REST
    is_watch: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A page of discovery: the root of the core group or of all others, a group, a group's version."""

    core: bool
    group: str = ""
    version: str = ""


def parse(catalogue: Catalogue, path: str) -> Target | Page | None:
    """What the path names, or None where nothing is served."""
    steps = path.split("/")
    while len(steps) > 1 and not steps[-1]:
        steps.pop()
    if steps[1] == "api":
        if len(steps) == 2:
            return Page(True)
        group, version, below = "", steps[2], steps[3:]
    else:
        if len(steps) == 2:
            return Page(False)
        if len(steps) == 3:
            return Page(False, steps[2]) if steps[2] in catalogue.groups() and steps[2] else None
        group, version, below = steps[2], steps[3], steps[4:]
        if not group:
            return None
    if below:
        return _resource(catalogue, group, version, below)
    return Page(not group, group, version) if version in catalogue.groups().get(group, ()) else None


def _resource(catalogue: Catalogue, group: str, version: str, steps: list[str]) -> Target | None:
    is_watch = False
    if steps[0] == "watch" and len(steps) > 1:
        is_watch, steps = True, steps[1:]
    namespace = ""
    if steps[0] == "namespaces" and len(steps) > 2:
        namespaces = catalogue.find(group, version, "namespaces")
        if namespaces is None or steps[2] not in namespaces.subresources:
            namespace, steps = steps[1], steps[2:]
            if not namespace:
                return None
    found = catalogue.find(group, version, steps[0])
    # An object of a namespace is found nowhere else, its collection also across all namespaces.
    if found is None or (namespace and not found.namespaced):
        return None
    if found.namespaced and not namespace and len(steps) > 1:
        return None
    if len(steps) == 1:
        return Target(found, namespace, is_watch=is_watch)
    if not steps[1]:
        return None
    _check_name(steps[1])
    if len(steps) == 2:
        return Target(found, namespace, steps[1], is_watch=is_watch)
    if steps[2] not in found.subresources or is_watch:
        return None
    return Target(found, namespace, steps[1], steps[2], "/".join(steps[3:]))


def _check_name(name: str) -> None:
    """A name that is a step of the path must not mean another step (`BadRequestError`)."""
    if name in (".", ".."):
        raise BadRequestError(f'Name parameter invalid: "{name}": may not be \'{name}\'')
    if "%" in name:
        raise BadRequestError(f'Name parameter invalid: "{name}": may not contain \'%\'')
