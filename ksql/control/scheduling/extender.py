"""Extenders: programs of others that are asked over HTTP which nodes a pod may have and which they like.

The protocol is kube-scheduler's (`k8s.io/kube-scheduler/extender/v1`): a POST per verb, JSON both ways. One that
does not answer keeps its pods waiting, unless it is ignorable.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from ksql.base.documents import Document, DocumentError, decode, encode
from ksql.control.scheduling.demand import Shape
from ksql.control.scheduling.placement import Opinion
from ksql.control.scheduling.profiles import EXTENDER_SCORE_MAX, Extender
from ksql.control.scheduling.room import SCORE_MAX

# What an extender may answer: names and reasons of 5,000 nodes are half a megabyte.
ANSWER_BYTES_MAX = 16 * 1024 * 1024


class ExtenderError(Exception):
    """An extender did not answer, or not in its protocol."""


def is_interested(extender: Extender, shape: Shape) -> bool:
    """Whether a pod is any of this extender's business."""
    return not extender.resources or any(resource in extender.resources for resource, _ in shape.extended)


class Extenders:
    """Those of one configuration, asked in order: each sees only what those before it left."""

    def __init__(self, extenders: Sequence[Extender], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._extenders = tuple(extenders)
        self._client = httpx.AsyncClient(transport=transport) if extenders else None

    def concern(self, shape: Shape) -> bool:
        """Whether any of them has a say about a pod."""
        return any(is_interested(one, shape) for one in self._extenders)

    async def ask(self, pod: Document, shape: Shape, nodes: Mapping[str, Document]) -> Opinion:
        """Their opinion of these nodes; `ExtenderError` when one that may not be ignored fails."""
        opinion = Opinion()
        left = dict(nodes)
        for extender in self._extenders:
            if not left or not is_interested(extender, shape):
                continue
            try:
                if extender.filter:
                    refused = await self._filter(extender, pod, left)
                    opinion.refused |= refused
                    left = {name: node for name, node in left.items() if name not in refused}
                if extender.prioritize and left:
                    for name, score in (await self._prioritize(extender, pod, left)).items():
                        scaled = extender.weight * score * SCORE_MAX / EXTENDER_SCORE_MAX
                        opinion.likes[name] = opinion.likes.get(name, 0.0) + scaled
            except ExtenderError:
                if not extender.is_ignorable:
                    raise
        return opinion

    async def bind(self, shape: Shape, pod: Document, node: str) -> bool:
        """Let the extender that binds do it; answers whether there is one."""
        for extender in self._extenders:
            if extender.bind and is_interested(extender, shape):
                metadata = pod["metadata"]
                body = {
                    "podName": metadata["name"], "podNamespace": metadata["namespace"], "podUID": metadata["uid"],
                    "node": node,
                }  # fmt: skip
                answer = await self._post(extender, extender.bind, body)
                if isinstance(answer, dict) and answer.get("error"):
                    raise ExtenderError(f"extender {extender.url}: {answer['error']}")
                return True
        return False

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _filter(self, extender: Extender, pod: Document, nodes: Mapping[str, Document]) -> dict[str, str]:
        answer = await self._post(extender, extender.filter, _arguments(extender, pod, nodes))
        if not isinstance(answer, dict):
            raise ExtenderError(f"extender {extender.url}: its filter must answer an object")
        if answer.get("error"):
            raise ExtenderError(f"extender {extender.url}: {answer['error']}")
        reasons = {**(answer.get("failedNodes") or {}), **(answer.get("failedAndUnresolvableNodes") or {})}
        if extender.takes_names and answer.get("nodenames") is not None:
            kept = set(answer["nodenames"])
        elif answer.get("nodes") is not None:
            kept = {node["metadata"]["name"] for node in answer["nodes"].get("items") or ()}
        else:
            kept = set(nodes) - set(reasons)
        silent = f"node(s) were refused by extender {extender.url}"
        return {name: str(reasons.get(name) or silent) for name in nodes if name not in kept or name in reasons}

    async def _prioritize(
        self, extender: Extender, pod: Document, nodes: Mapping[str, Document]
    ) -> dict[str, float]:
        answer = await self._post(extender, extender.prioritize, _arguments(extender, pod, nodes))
        try:
            return {str(one["host"]): float(one["score"]) for one in answer or ()}
        except (TypeError, KeyError, ValueError):
            raise ExtenderError(f"extender {extender.url}: its priorities must be a list of host and score") from None

    async def _post(self, extender: Extender, verb: str, body: Document) -> Any:
        assert self._client is not None
        url = f"{extender.url}/{verb}"
        try:
            response = await self._client.post(
                url, content=encode(body), headers={"content-type": "application/json"}, timeout=extender.seconds
            )
        except httpx.HTTPError as error:
            raise ExtenderError(f"extender {url}: {error or type(error).__name__}") from error
        if response.status_code != httpx.codes.OK:
            raise ExtenderError(f"extender {url}: status {response.status_code}")
        if len(response.content) > ANSWER_BYTES_MAX:
            raise ExtenderError(f"extender {url}: an answer of more than {ANSWER_BYTES_MAX} bytes")
        try:
            return decode(response.content)
        except DocumentError as error:
            raise ExtenderError(f"extender {url}: {error}") from error


def _arguments(extender: Extender, pod: Document, nodes: Mapping[str, Document]) -> Document:
    if extender.takes_names:
        return {"pod": pod, "nodenames": list(nodes)}
    items = {"apiVersion": "v1", "kind": "NodeList", "metadata": {}, "items": list(nodes.values())}
    return {"pod": pod, "nodes": items}
