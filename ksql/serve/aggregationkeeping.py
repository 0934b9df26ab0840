"""APIServices kept, and what extension API servers need to believe this one: `extension-apiserver-authentication`."""

import json
from collections.abc import Callable, Sequence

from ksql.auth.pki import CLIENTS, NODES, PROXY, PROXY_USER, Pki
from ksql.base.clock import Clock, rfc3339
from ksql.base.documents import Document
from ksql.serve import apiservices
from ksql.serve.aggregation import Aggregator
from ksql.serve.upkeep import Keeper, Wish
from ksql.verbs.pipeline import Pipeline

_NAME, _SPACE = "extension-apiserver-authentication", "kube-system"


def keeper(pipeline: Pipeline, clock: Clock, aggregator: Aggregator, keys: Callable[[], Pki]) -> Keeper:
    """Keeps them in a cluster; `keys` are those of the moment."""
    objects, catalogue = pipeline.objects, pipeline.catalogue

    def plan() -> Sequence[Wish]:
        extensions = [one.document for one in aggregator.locals.values()]
        findings, now = aggregator.findings(), rfc3339(clock.now())
        wishes = list(apiservices.plan(catalogue, objects, findings, now, extensions))
        current, trust = objects.document("configmaps", _SPACE, _NAME), trust_of(keys())
        if current is None:
            wishes.append(Wish("create", "configmaps", trust))
        elif any((current.get("data") or {}).get(key) != text for key, text in trust["data"].items()):
            data = {**(current.get("data") or {}), **trust["data"]}
            wishes.append(Wish("update", "configmaps", {**current, "data": data}))
        return wishes

    found = Keeper("API services", pipeline, clock, (apiservices.KEY,), plan)
    catalogue.listen(found.wake)
    aggregator.listen(found.wake)
    return found


def trust_of(keys: Pki) -> Document:
    """Whose certificates an extension API server believes, and in which headers callers are named."""
    data = {
        "client-ca-file": (keys.bundle(CLIENTS) + keys.bundle(NODES)).decode(),
        "requestheader-client-ca-file": keys.bundle(PROXY).decode(),
        "requestheader-allowed-names": [PROXY_USER],
        "requestheader-username-headers": ["X-Remote-User"],
        "requestheader-uid-headers": ["X-Remote-Uid"],
        "requestheader-group-headers": ["X-Remote-Group"],
        "requestheader-extra-headers-prefix": ["X-Remote-Extra-"],
    }
    return {
        "metadata": {"name": _NAME, "namespace": _SPACE},
        "data": {key: text if isinstance(text, str) else json.dumps(text) for key, text in data.items()},
    }
