"""Holds answers recorded from a real kube-apiserver against those of the door, object by object.

A recorded line says which base document was changed how, and what was answered. Both servers are given
the same bytes but for what only a server can know (uids, addresses, instants), which is masked on both
sides. What the reference was started without is passed over: it ran without the ServiceAccount
admission, whose answers depend on objects beside the one sent.

`python -m tests.serve.recorded creation` (or `update`, or `custom`) says how many answers are equal, by
kind, and the numbers of the lines that are not; with kinds named after it, what differs in each.
"""

import asyncio
import copy
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from ksql.base.documents import Document
from ksql.control.definitions import status_of
from ksql.schema import catalogue
from ksql.schema.resources import ResourceType
from tests.schema.recorded import FOLDER, vectors
from tests.serve.cluster import in_process, rooms

EXCEPTIONS = FOLDER / "exceptions.json"
CATALOGUE = catalogue.load()
_NAMESPACES = ("default", "gold")
_QUERY = "?dryRun=All&fieldValidation=Strict&fieldManager=m"
_INSTANT = re.compile(r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z$")
_UID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# As a line of a message in JSON has it.
_ACCOUNT = '\\"ServiceAccountName\\": \\"{}\\"'
# What the server fills in, of an object's metadata.
_OWN = ("uid", "creationTimestamp", "managedFields", "resourceVersion")


@dataclass(frozen=True)
class Outcome:
    """One comparison. `same` or what differs: the status code, the message, the object, the warnings."""

    number: int
    kind: str
    verdict: str
    line: dict[str, Any]
    want: Any
    got: Any


@dataclass
class Tally:
    same: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    different: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.total[outcome.kind] += 1
        if outcome.verdict == "same":
            self.same[outcome.kind] += 1
        else:
            self.different.append(outcome)


def kind_of(document: Document) -> ResourceType:
    group, _, version = document["apiVersion"].rpartition("/")
    found = CATALOGUE.kind(group, version, document["kind"])
    assert found is not None, document["kind"]
    return found


def path_of(type: ResourceType, namespace: str, name: str = "", subresource: str = "") -> str:
    base = f"/apis/{type.group}/{type.version}" if type.group else "/api/v1"
    parts = [base, *(["namespaces", namespace] if type.namespaced else []), type.resource, name, subresource]
    return "/".join(part for part in parts if part)


def edited(document: Document, edits: Sequence[Any]) -> Document:
    """The document with each edit made: ["set", path, value] or ["del", path]."""
    result = copy.deepcopy(document)
    for operation, path, *value in copy.deepcopy(list(edits)):
        parent: Any = result
        for step in path[:-1]:
            parent = parent[step]
        last = path[-1]
        if operation == "del":
            parent.pop(last) if isinstance(parent, list) else parent.pop(last, None)
        elif isinstance(parent, list) and last == len(parent):
            parent.append(value[0])
        else:
            parent[last] = value[0]
    return result


def masked(answer: Any, sent: Document) -> Any:
    """An answer without what differs from server to server."""
    if not isinstance(answer, dict):
        return answer
    answer = _without_instants(copy.deepcopy(answer), _instants(sent))
    if answer.get("reason") == "Conflict":
        answer = json.loads(_UID.sub("a uid", json.dumps(answer)))
    if sent.get("kind") == "Job":
        # Its pods carry its uid, wherever they are shown.
        answer = json.loads(_UID.sub("a uid", json.dumps(answer)))
    if sent.get("kind") in ("Job", "Pod") and "details" in answer:
        # Inside, the reference is a minor newer than what it serves: one field has another name there. And its pods
        # have no account.
        text = json.dumps(answer).replace("SchedulingGroup", "WorkloadRef")
        answer = json.loads(text.replace(_ACCOUNT.format("default"), _ACCOUNT.format("")))
    if answer.get("kind") == "Status" and "status" in answer:
        return {key: value for key, value in answer.items() if key not in ("metadata", "apiVersion", "kind")}
    metadata = answer.get("metadata")
    if isinstance(metadata, dict):
        for key in _OWN:
            metadata.pop(key, None)
        if metadata.get("generateName") and metadata.get("name", "").startswith(metadata["generateName"]):
            metadata["name"] = "generated"
    if answer.get("kind") == "PersistentVolume" and "lastPhaseTransitionTime" in (answer.get("status") or {}):
        answer["status"]["lastPhaseTransitionTime"] = "an instant"
    if answer.get("kind") == "ResourceQuota" and not sent.get("status"):
        # A quota is charged in the very write, there by a controller later.
        answer.pop("status", None)
    if "status" in answer and answer.get("kind") in _JUDGED:
        # What controllers of the reference had said by then.
        answer = {key: value for key, value in answer.items() if key != "status"}
    mask = _MASKS.get(str(answer.get("kind")))
    if mask is not None and isinstance(answer.get("spec"), dict):
        mask(answer["spec"], sent.get("spec") if isinstance(sent.get("spec"), dict) else {})
    return answer


_JUDGED = frozenset(["APIService", "CustomResourceDefinition", "FlowSchema", "PriorityLevelConfiguration"])


def _instants(value: Any) -> frozenset[str]:
    """The instants a document names itself: those are compared.

    When it was made is not among them: what is stamped in the same second would look as if it had been named.
    """
    own = (value.get("metadata") or {}) if isinstance(value, dict) else {}
    made = own.get("creationTimestamp") if isinstance(own, dict) else None
    return frozenset(text for text in _texts(value) if text != made and _INSTANT.match(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _without_instants(value: Any, known: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_instants(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_instants(item, known) for item in value]
    if isinstance(value, str) and value not in known and _INSTANT.match(value):
        return "an instant"
    return value


def _mask_service(spec: Any, sent: Any) -> None:
    for key in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
        if key in spec and sent.get(key) is None and spec[key] not in ("None", ["None"]):
            spec[key] = "given"
    ports = sent.get("ports")
    asked = {port.get("nodePort") for port in ports if isinstance(port, dict)} if isinstance(ports, list) else set()
    for port in spec.get("ports") or ():
        if "nodePort" in port and port["nodePort"] not in asked:
            port["nodePort"] = "given"


def _mask_pod(spec: Any, sent: Any) -> None:
    if "serviceAccountName" not in sent and "serviceAccount" not in sent:
        for key in ("serviceAccountName", "serviceAccount"):
            spec.pop(key, None)


def _mask_request(spec: Any, sent: Any) -> None:
    for key in ("username", "uid", "groups", "extra"):
        spec.pop(key, None)


_MASKS = {"Service": _mask_service, "Pod": _mask_pod, "CertificateSigningRequest": _mask_request}


def transplanted(recorded: Any, live: Document, own: Document) -> Any:
    """A recorded object as this server would have it: with the identity, addresses and ports it gave out itself."""
    if not isinstance(recorded, dict) or not isinstance(recorded.get("metadata"), dict):
        return recorded
    result: Document = copy.deepcopy(recorded)
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        if key in result["metadata"]:
            result["metadata"][key] = own["metadata"][key]
    spec = result.get("spec")
    if result.get("kind") == "Service" and isinstance(spec, dict):
        for key in ("clusterIP", "clusterIPs", "healthCheckNodePort"):
            if key in spec and key in own["spec"]:
                spec[key] = own["spec"][key]
        pairs = zip(live["spec"].get("ports") or (), own["spec"].get("ports") or (), strict=False)
        given = {theirs.get("nodePort"): mine.get("nodePort") for theirs, mine in pairs}
        for port in spec.get("ports") or ():
            if isinstance(port, dict) and given.get(port.get("nodePort")):
                port["nodePort"] = given[port["nodePort"]]
    if result.get("kind") == "Job" and isinstance(spec, dict):
        _transplant_job(spec, own)
    if result.get("kind") == "Pod" and "conditions" in (result.get("status") or {}) and "status" in own:
        pairs = zip(result["status"]["conditions"], own["status"].get("conditions") or (), strict=False)
        for condition, known in pairs:
            if condition.get("type") == known.get("type") == "PodScheduled":
                condition["lastTransitionTime"] = known["lastTransitionTime"]
    if result.get("kind") == "Pod" and isinstance(spec, dict):
        # The reference gives its pods no account.
        for key in ("serviceAccountName", "serviceAccount"):
            if key in own["spec"]:
                spec.setdefault(key, own["spec"][key])
    return result


def _transplant_job(spec: Document, own: Document) -> None:
    """A Job's pods are selected by its uid."""
    for labels in (
        (spec.get("selector") or {}).get("matchLabels"),
        ((spec.get("template") or {}).get("metadata") or {}).get("labels"),
    ):
        for key in labels if isinstance(labels, dict) else ():
            if key.endswith("controller-uid"):
                labels[key] = own["metadata"]["uid"]


def _warnings(response: httpx.Response) -> list[str]:
    """The texts of the warnings, but for our own about kinds that are only kept."""
    texts = [line.split(" ", 2)[2][1:-1] for line in response.headers.get_list("warning")]
    plain = [text.replace('\\"', '"').replace("\\\\", "\\") for text in texts]
    return [text for text in plain if "are kept, but" not in text]


def _unordered(status: Any) -> Any:
    """A refusal without the order of its complaints: Go walks the maps of custom objects in any order."""
    if not isinstance(status, dict) or "message" not in status:
        return status
    message, details = _GENERATED.sub('"generated"', status["message"]), status.get("details") or {}
    head, found, unknown = message.partition(": strict decoding error: ")
    causes = sorted(details.get("causes") or (), key=lambda cause: (cause.get("field", ""), cause["message"]))
    if len(causes) > 1:
        message = message.partition(" is invalid: ")[0]
    elif found:
        message = f"{head}: {sorted(unknown.split(', '))}"
    return {**status, "message": message, "details": {**details, "name": "", "causes": causes}}


def _walked(status: Any) -> Any:
    """A refusal whose complaints about the entries of one map stand in no order, since Go walks maps in any."""
    causes = (status.get("details") or {}).get("causes") if isinstance(status, dict) else None
    if not causes or len(causes) < 2:
        return status
    groups = itertools.groupby(causes, key=lambda cause: _ENTRY.sub("", cause.get("field", "")))
    ordered = [cause for _, group in groups for cause in sorted(group, key=lambda one: (one["field"], one["message"]))]
    message = status["message"].partition(" is invalid: ")[0]
    return {**status, "message": message, "details": {**status["details"], "causes": ordered}}


# An entry of a map in a path, unlike the index of a list.
_ENTRY = re.compile(r"\[[^\]]*[^\]0-9][^\]]*\]$")
_GENERATED = re.compile(r'"g-[a-z0-9]{5}"')


def judged(
    number: int, line: dict[str, Any], kind: str, response: httpx.Response, want: Any, sent: Document,
    *, ordered: bool = True,
) -> Outcome:  # fmt: skip
    try:
        answer = response.json()
    except ValueError:
        answer = {"text": response.text}
    want, got = masked(want, sent), masked(answer, sent)
    warned, warnings = line.get("warnings", []), _warnings(response)
    if not ordered:
        want, got, warned, warnings = _unordered(want), _unordered(got), sorted(warned), sorted(warnings)
    if response.status_code != line["code"]:
        verdict = f"{line['code']}, not {response.status_code}"
    elif want != got and _walked(want) != _walked(got):
        verdict = "message" if line["code"] >= 400 else "object"
    elif warnings != warned:
        verdict, want, got = "warnings", warned, warnings
    else:
        verdict = "same"
    return Outcome(number, kind, verdict, line, want, got)


async def creations(kinds: Sequence[str] = ()) -> Tally:
    """Every recorded creation, sent again."""
    lines, tally = vectors("creation"), Tally()
    bases = next(lines)["bases"]
    async with rooms() as server, in_process(server.door) as http:
        await _prepare(http)
        for number, line in enumerate(lines):
            base = bases[line["base"]]
            if kinds and base["kind"] not in kinds:
                continue
            document = edited(base, line["edits"])
            response = await http.post(path_of(kind_of(base), "default") + _QUERY, json=document)
            tally.add(judged(number, line, base["kind"], response, line["answer"], document))
    return tally


async def updates(kinds: Sequence[str] = ()) -> Tally:
    """Every recorded update of an object or of its status, of the same object made here."""
    lines, tally = vectors("update"), Tally()
    bases, made = next(lines)["bases"], {}
    async with rooms() as server, in_process(server.door) as http:
        await _prepare(http)
        for number, line in enumerate(lines):
            base = bases[line["base"]]
            document, live = base["made"], base["live"]
            kind, type = document["kind"], kind_of(document)
            if kinds and kind not in kinds:
                continue
            if line["base"] not in made:
                await _lift_quotas(http, kind)
                response = await http.post(path_of(type, "gold") + "?fieldManager=m", json=document)
                made[line["base"]] = response.json() if response.status_code == 201 else None
                if kind == "CustomResourceDefinition":
                    made[line["base"]] = await _establish(http, response.json(), server.clock.now())
            own = made[line["base"]]
            if own is None:
                tally.add(Outcome(number, kind, "not made", line, "", ""))
                continue
            path = path_of(type, "gold", document["metadata"]["name"], line.get("subresource", ""))
            line = _readdressed(line, live, own)
            sent = edited(transplanted(live, live, own), line["edits"])
            response = await http.put(path + _QUERY, json=sent)
            tally.add(judged(number, line, kind, response, transplanted(line["answer"], live, own), sent))
    return tally


def _readdressed(line: dict[str, Any], live: Document, own: Document) -> dict[str, Any]:
    """A line about a Service's address, which both servers chose themselves, with the address that it has here."""
    theirs, ours = ((one.get("spec") or {}).get("clusterIP") for one in (live, own))
    if live["kind"] != "Service" or not theirs or not ours or theirs not in json.dumps(line):
        return line
    changed: dict[str, Any] = json.loads(json.dumps(line).replace(theirs, ours))
    return changed


async def _establish(http: httpx.AsyncClient, document: Document, now: datetime) -> Document:
    """A definition as the controller of definitions leaves it."""
    document = {**document, "status": status_of(document, (), now)}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    response = await http.put(f"{path}/{document['metadata']['name']}/status", json=document)
    assert response.status_code == 200, response.text
    found: Document = response.json()
    return found


async def _lift_quotas(http: httpx.AsyncClient, kind: str) -> None:
    """The reference had no controller to reckon with quotas, so none was ever enforced there."""
    if kind != "ResourceQuota":
        response = await http.delete("/api/v1/namespaces/gold/resourcequotas")
        assert response.status_code == 200, response.text


async def customs() -> Tally:
    """Every recorded write of a custom object, against the same definitions made here."""
    lines, tally = vectors("custom"), Tally()
    definitions, made = next(lines)["definitions"], {}
    async with rooms() as server, in_process(server.door) as http:
        await _prepare(http)
        for definition in definitions.values():
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            response = await http.post(path, json=definition)
            assert response.status_code == 201, response.text
            await _establish(http, response.json(), server.clock.now())
        for number, line in enumerate(lines):
            spec = definitions[line["kind"]]["spec"]
            path = f"/apis/{spec['group']}/v1/namespaces/default/{spec['names']['plural']}"
            query = f"?dryRun=All&fieldValidation={line['mode']}&fieldManager=m"
            kind = "Random" if line["kind"].startswith("Rand") else line["kind"]
            if "made" not in line:
                response = await http.post(path + query, json=line["document"])
                tally.add(judged(number, line, kind, response, line["answer"], line["document"], ordered=False))
                continue
            name = line["made"]["metadata"]["name"]
            if (line["kind"], name) not in made:
                response = await http.post(path + "?fieldManager=m", json=line["made"])
                assert response.status_code == 201, response.text
                made[line["kind"], name] = response.json()["metadata"]
            document = {**line["document"], "metadata": made[line["kind"], name]}
            place = f"{path}/{name}" + (f"/{line['subresource']}" if "subresource" in line else "")
            response = await http.put(place + query, json=document)
            tally.add(judged(number, line, kind, response, line["answer"], document, ordered=False))
    return tally


async def _prepare(http: httpx.AsyncClient) -> None:
    for namespace in _NAMESPACES:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        response = await http.post("/api/v1/namespaces", json=body)
        assert response.status_code in (201, 409), response.text


async def _main(area: str, kinds: Sequence[str]) -> None:
    runs = {"creation": lambda: creations(kinds), "update": lambda: updates(kinds), "custom": customs}
    tally = await runs[area]()
    for kind, total in sorted(tally.total.items()):
        print(f"{kind:32} {tally.same[kind]:5} of {total:5}")
    print(f"{area}: {tally.same.total()} of {tally.total.total()}")
    print("different:", *(outcome.number for outcome in tally.different))
    for outcome in tally.different if kinds else ():
        print(outcome.number, outcome.verdict, json.dumps(outcome.line.get("edits") or outcome.line["document"])[:200])
        print("  want", json.dumps(outcome.want)[:1000], "\n  got ", json.dumps(outcome.got)[:1000])


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2:]))
