"""The default roles and bindings, brought into a cluster at its start, and set right where they lack something.

Written as the API server itself, as everything at a start; a settled cluster writes nothing. What its owner
changed on purpose stays: rules and subjects that were added, and everything annotated to be left alone.
"""

import asyncio
from collections.abc import Iterator

from ksql.auth.defaults import all_defaults, completed, is_left_alone
from ksql.base.documents import Document
from ksql.verbs.bootstrap import APISERVER, APISERVER_AGENT
from ksql.verbs.pipeline import Pipeline
from ksql.verbs.request import Request


async def reconcile(pipeline: Pipeline) -> None:
    """Write what is missing, all side by side: one commit carries many."""
    gone = [request for request in _requests(pipeline) if request.verb == "delete"]
    await asyncio.gather(*map(pipeline.perform, gone))
    await asyncio.gather(*(pipeline.perform(request) for request in _requests(pipeline)))


def _requests(pipeline: Pipeline) -> Iterator[Request]:
    for default in all_defaults():
        if (request := _request(pipeline, *default)) is not None:
            yield request


def _request(pipeline: Pipeline, resource: str, wanted: Document) -> Request | None:
    """The write that brings one default about, if one is needed."""
    type = pipeline.catalogue.by_key(resource)
    metadata = wanted["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    current = pipeline.objects.document(resource, namespace, name)
    verb, document = "create", wanted
    if current is not None:
        changed = completed(wanted, current)
        if changed is None:
            return None
        verb, document = "update", changed
        if not is_left_alone(current) and wanted.get("roleRef") != current.get("roleRef"):
            # A binding's role cannot be changed: it is made anew.
            verb = "delete"
    body = None if verb == "delete" else {"apiVersion": type.api_version, "kind": type.kind, **document}
    return Request(
        APISERVER, verb, type, namespace, "" if verb == "create" else name, body=body, user_agent=APISERVER_AGENT
    )
