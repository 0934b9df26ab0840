"""ResourceQuotas, exact: charged and credited in the very transaction that changes what they count.

Kubernetes charges on the way in and lets a controller count again when objects go. Here decisions see exact
state, so every draft of a request moves its namespace's quotas at once: more use is refused when it would pass
a bound, less use is credited, and no count is ever behind. A quota is measured whole when it is made or its
bounds change.

`settled` is the one door: it takes the drafts of a decision and answers them with the quotas' own.
"""

from collections.abc import Sequence
from dataclasses import replace

from ksql.base.documents import Document
from ksql.log.event import Change, Draft
from ksql.schema import quantities, usage
from ksql.schema.catalogue import Catalogue
from ksql.schema.errors import ForbiddenError
from ksql.schema.resources import ResourceType
from ksql.schema.usage import Amounts
from ksql.verbs.decider import Author, update
from ksql.verbs.view import Current, View

KEY = "resourcequotas"
# Who keeps the counts, as the managers of a quota's fields show.
MANAGER = "ksql-quota"


def settled(drafts: Sequence[Draft], catalogue: Catalogue, author: Author, view: View) -> Sequence[Draft]:
    """The drafts with those of the quotas they move; `ForbiddenError` when one would be exceeded."""
    namespace = drafts[0].stream.namespace if drafts else ""
    if not namespace or not view.any(KEY, namespace):
        return drafts
    quotas = _Quotas(view, namespace)
    for one in drafts:
        if one.stream.namespace == namespace:
            quotas.move(one)
    busy = {one.stream.name for one in drafts if one.stream.resource == KEY}
    # The counts first: what the request is about comes last, as with everything decided along with it.
    return (*quotas.drafts(catalogue.by_key(KEY), author, busy), *drafts)


class _Quotas:
    """The quotas of one namespace, and how a request moves them."""

    def __init__(self, view: View, namespace: str) -> None:
        self._view, self._namespace = view, namespace
        self._quotas = [each for each in view.list(KEY, namespace) if _is_measured(each)]
        self._used: dict[str, Amounts] = {}

    def move(self, one: Draft) -> None:
        key = one.stream.resource
        before = self._view.look(key, self._namespace, one.stream.name)
        after = None if one.change is Change.DELETED else one.document
        # A name made anew in this request stands in the drafts only once.
        if before is not None and before["metadata"]["uid"] != one.stream.uid:
            before = None
        for quota in self._quotas:
            if key == "pods" and before is None and after is not None and usage.covers(quota, key, after):
                _check_said(quota, one)
            old = _share(quota, key, before)
            new = _share(quota, key, after)
            if old != new:
                self._charge(quota, one, old, new)

    def _charge(self, quota: Document, one: Draft, old: Amounts, new: Amounts) -> None:
        name, hard = quota["metadata"]["name"], _parsed(quota["spec"].get("hard"))
        used = self._used.setdefault(name, _parsed(quota["status"].get("used")))
        more = {each: new[each] - old.get(each, quantities.ZERO) for each in new}
        more = {each: amount for each, amount in more.items() if amount.nano > 0}
        exceeded = [each for each in more if used.get(each, quantities.ZERO) + more[each] > hard[each]]
        if exceeded:
            raise _forbidden(
                one,
                f"exceeded quota: {name}, requested: {_printed(more, exceeded)}, "
                f"used: {_printed(used, exceeded)}, limited: {_printed(hard, exceeded)}",
            )
        for each in {**old, **new}:
            moved = used.get(each, quantities.ZERO) + new.get(each, quantities.ZERO) - old.get(each, quantities.ZERO)
            # A count that was wrong once must not stay wrong by going below nothing.
            used[each] = moved if moved.nano > 0 else quantities.Quantity(0, moved.format)

    def drafts(self, type: ResourceType, author: Author, busy: set[str]) -> list[Draft]:
        """The quotas' new counts. One that the request itself changes is measured there."""
        counter = replace(author, verb="update", subresource="status", field_manager=MANAGER)
        found: list[Draft] = []
        for name, used in self._used.items():
            current = self._view.get(KEY, self._namespace, name)
            if current is None or name in busy:
                continue
            status = {**current.document["status"], "used": _written(used)}
            found += update(counter, type, current, {**current.document, "status": status}).drafts
        return found


def _check_said(quota: Document, one: Draft) -> None:
    """What a quota bounds, each container of a new pod must speak of."""
    silent = usage.unsaid(quota["spec"].get("hard") or {}, one.document)
    if silent:
        said = "; ".join(f"{each} for: {','.join(containers)}" for each, containers in silent.items())
        raise _forbidden(one, f"failed quota: {quota['metadata']['name']}: must specify {said}")


def _is_measured(quota: Document) -> bool:
    return "hard" in (quota.get("status") or {}) and "deletionTimestamp" not in quota["metadata"]


def _share(quota: Document, key: str, document: Document | None) -> Amounts:
    """What an object uses of a quota's bounded names."""
    if document is None or not usage.covers(quota, key, document):
        return {}
    hard = quota["spec"].get("hard") or {}
    return {name: amount for name, amount in usage.usage_of(key, document).items() if name in hard}


def measured(document: Document, view: View, current: Current | None = None) -> Document:
    """A quota with its status counted from what is there, when it is new or its bounds are others."""
    spec = document.get("spec") or {}
    if current is not None and spec == current.document.get("spec") and "hard" in (document.get("status") or {}):
        return document
    hard = spec.get("hard") or {}
    metadata = document["metadata"]
    used: Amounts = {name: quantities.Quantity(0, quantities.parse(hard[name]).format) for name in hard}
    for key in sorted(usage.resources_named(hard)):
        for each in view.list(key, metadata["namespace"]):
            used = usage.added(used, _share(document, key, each), hard.__contains__)
    if current is None:
        # A new quota counts itself, if it counts quotas.
        used = usage.added(used, _share(document, KEY, document), hard.__contains__)
    return {**document, "status": {"hard": hard, "used": _written(used)} if hard else {}}


def _parsed(amounts: Document | None) -> Amounts:
    return {name: quantities.parse(text) for name, text in (amounts or {}).items()}


def _written(amounts: Amounts) -> dict[str, str]:
    return {name: str(amounts[name]) for name in sorted(amounts)}


def _printed(amounts: Amounts, names: Sequence[str]) -> str:
    return ",".join(f"{name}={amounts.get(name, quantities.ZERO)}" for name in sorted(names))


def _forbidden(one: Draft, why: str) -> ForbiddenError:
    resource, name = one.stream.resource, one.stream.name
    plural, _, group = resource.partition(".")
    return ForbiddenError(f'{resource} "{name}" is forbidden: {why}', group=group, kind=plural, name=name)
