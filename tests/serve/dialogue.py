"""A dialogue recorded with a real kube-apiserver, held again with the door: request by request, in order.

It goes through the verbs and their mistakes on a handful of objects: bodies that are none, parameters that
mean nothing, preconditions, patches of every kind, pages, watches, subresources, finalizers, reviews. Both
sides are told the same; what only a server can know (revisions, uids, instants, tokens) is masked on both.
Watches last a second each, which on virtual time takes none.

`python -m tests.serve.dialogue` shows what differs.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from ksql.base.clock import VirtualClock, run_virtual
from tests.schema.recorded import vectors
from tests.serve.cluster import in_process, rooms

_MASKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "(uid)"),
    (re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z"), "(instant)"),
    (re.compile(r"current: [0-9]+|record \([0-9]+\)"), "current: (revision)"),
    # A build that was not told to shorten its paths.
    (re.compile(r"k8s\.io/kubernetes/pkg/api"), "pkg/api"),
)
_MASKED_FIELDS = frozenset(["resourceVersion", "continue", "serverAddress"])
_AGE = re.compile(r"^(<invalid>|[0-9]+[smhd])$")


@dataclass(frozen=True)
class Difference:
    number: int
    request: str
    want: Any
    got: Any


def masked(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        if str(value.get("kind", "")).endswith("Review"):
            # The reference notes who asked, in a document that nobody keeps.
            value = {**value, "metadata": {}}
        return {name: masked(item, name) for name, item in value.items() if not _is_own(value, name)}
    if isinstance(value, list):
        if key == "items":
            # Items say their kind here, as items of custom lists do there.
            value = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in value]
        # The cells of a table are told apart by nothing but their looks.
        return ["(age)" if isinstance(v, str) and _AGE.match(v) else masked(v, key) for v in value]
    if isinstance(value, str):
        if key in _MASKED_FIELDS:
            return f"({key})"
        for expression, words in _MASKS:
            value = expression.sub(words, value)
    return value


def _is_own(value: dict[str, Any], name: str) -> bool:
    """What a column's description says is our own."""
    return name == "description" and "priority" in value


def answer_of(text: str, media: str | None) -> Any:
    """A body as it is compared: parsed line by line, or text."""
    if media == "application/yaml":
        return masked(yaml.load(text, yaml.BaseLoader))
    try:
        return [masked(json.loads(line)) for line in text.splitlines() if line.strip()]
    except ValueError:
        try:
            return [masked(json.loads(text))]
        except ValueError:
            return masked(text.strip())


def _body(line: dict[str, Any]) -> bytes | None:
    body = line.get("body")
    if body is None:
        return None
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


async def ask(http: httpx.AsyncClient, line: dict[str, Any]) -> httpx.Response:
    body = _body(line)
    headers = {"accept": line["accept"], "user-agent": "talker"}
    if body is not None:
        headers["content-type"] = line["ctype"]
    return await http.request(line["method"], line["path"], content=body, headers=headers)


def said(line: dict[str, Any], response: httpx.Response) -> tuple[Any, Any]:
    """What was recorded and what is answered now, as they are compared."""
    warnings = [text.split(" ", 2)[2][1:-1] for text in response.headers.get_list("warning")]
    want = {
        "code": line["code"],
        "type": line["type"],
        "warnings": line.get("warnings", []),
        "body": answer_of(line["answer"], line["type"]),
    }
    got = {
        "code": response.status_code,
        "type": response.headers.get("content-type"),
        "warnings": [text.replace('\\"', '"').replace("\\\\", "\\") for text in warnings],
        "body": answer_of(response.text, response.headers.get("content-type")),
    }
    return want, got


def hold(lines: Sequence[dict[str, Any]]) -> list[Difference]:
    """The whole dialogue on virtual time; what differs."""

    async def main(clock: VirtualClock) -> list[Difference]:
        different = []
        async with rooms(clock) as server, in_process(server.door) as http:
            for number, line in enumerate(lines):
                want, got = said(line, await ask(http, line))
                if want != got:
                    request = f"{line['method']} {line['path']} {str(line.get('body', ''))[:120]} [{line['ctype']}]"
                    different.append(Difference(number, request, want, got))
        return different

    return run_virtual(main, seed=1)


def _parts(want: dict[str, Any], got: dict[str, Any]) -> str:
    return "\n".join(
        f"    {key}: want {json.dumps(want[key])[:700]}\n    {' ' * len(key)}  got  {json.dumps(got[key])[:700]}"
        for key in want
        if want[key] != got[key]
    )


if __name__ == "__main__":
    recorded = list(vectors("dialogue"))
    found = hold(recorded)
    for one in found:
        print(f"{one.number} {one.request}\n{_parts(one.want, one.got)}")
    print(f"{len(found)} of {len(recorded)} differ")
