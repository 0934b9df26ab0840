"""Every resource, verb and subresource of a minor, truly tried on a valid object of each kind.

The samples are the documents whose answers were recorded from a real kube-apiserver, and those below for what
has no recording. `table` performs all that discovery offers against the app in process, tries what it does not
offer as well (that must be 405), and prints a row per resource: what works, and what is refused for which reason.
`python -m tests.conformance.coverage` writes the tables that `test_coverage.py` compares with.
"""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ksql.base.documents import Document
from ksql.schema import catalogue
from ksql.schema.resources import ResourceType
from tests.schema.recorded import vectors
from tests.serve.cluster import TOKEN, in_process, rooms

FOLDER = Path(__file__).parent / "tables"
MINORS = ("1.32", "1.35", "1.37")
NAME_WIDTH, CELL_WIDTH = 66, 22
VERBS = ("create", "get", "list", "watch", "update", "patch", "apply", "delete", "deletecollection")
# In the order in which they can be tried on one object; "apply" is a patch of its own kind.
_METHODS = {"create": "POST", "get": "GET", "update": "PUT", "patch": "PATCH", "apply": "PATCH", "delete": "DELETE"}
_COLLECTION = {"list": "GET", "create": "POST", "deletecollection": "DELETE"}

_CONSTRAINTS = {
    "resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    ]
}
_ACCESS = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}


def _stub_request() -> str:
    """A signing request that proves that somebody holds a key, and says nothing else (DER)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return b64encode(request.public_bytes(serialization.Encoding.DER)).decode()


SAMPLES: Mapping[tuple[str, str], Document] = {
    ("v1", "Binding"): {"metadata": {"name": "covered"}, "target": {"kind": "Node", "name": "node-1"}},
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {},
    ("authentication.k8s.io/v1", "TokenReview"): {"spec": {"token": TOKEN}},
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview"): {"spec": {"user": "bob", **_ACCESS}},
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {"spec": _ACCESS},
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {"spec": {"namespace": "default"}},
    ("authorization.k8s.io/v1", "SubjectAccessReview"): {"spec": {"user": "bob", **_ACCESS}},
    ("certificates.k8s.io/v1", "ClusterTrustBundle"): {"metadata": {"name": "roots"}, "spec": {"trustBundle": ""}},
    ("certificates.k8s.io/v1", "PodCertificateRequest"): {
        "metadata": {"name": "request"},
        "spec": {
            "signerName": "example.com/pods", "podName": "covered", "podUID": "p", "serviceAccountName": "default",
            "serviceAccountUID": "a", "nodeName": "node-1", "nodeUID": "n", "maxExpirationSeconds": 86400,
            "stubPKCS10Request": _stub_request(),
        },
    },
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy"): {
        "metadata": {"name": "policy"},
        "spec": {
            "matchConstraints": _CONSTRAINTS, "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}],
        },
    },
    ("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding"): {
        "metadata": {"name": "binding"}, "spec": {"policyName": "policy"},
    },
    ("resource.k8s.io/v1", "DeviceTaintRule"): {
        "metadata": {"name": "rule"}, "spec": {"taint": {"key": "example.com/broken", "effect": "NoExecute"}},
    },
    ("storagemigration.k8s.io/v1", "StorageVersionMigration"): {
        "metadata": {"name": "migration"}, "spec": {"resource": {"group": "apps", "resource": "deployments"}},
    },
}  # fmt: skip

POD: Document = {
    "metadata": {"name": "covered"},
    "spec": {
        "containers": [{"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}],
    },
}
_DEBUGGER = {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox", "targetContainerName": "web"}]}}
_RESIZED = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "200m"}}}]}}
_APPROVED = {"type": "Approved", "status": "True", "reason": "Known", "message": "known"}

# What is asked of subresources whose body is not their object's own.
BODIES: Mapping[str, Document] = {
    "pods/binding": {"target": {"kind": "Node", "name": "node-1"}},
    "pods/eviction": {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "covered"}},
    "serviceaccounts/token": {"spec": {"expirationSeconds": 600}},
}
PATCHES: Mapping[str, Document] = {
    "pods/ephemeralcontainers": _DEBUGGER,
    "pods/resize": _RESIZED,
    "certificatesigningrequests/approval": {"status": {"conditions": [_APPROVED]}},
}
# Subresources that are a conversation: tried without a node behind the server, and so refused for that reason.
CONVERSATIONS = ("attach", "exec", "log", "portforward", "proxy")


def samples(types: Sequence[ResourceType]) -> dict[tuple[str, str], Document]:
    """A valid document for each kind."""
    found: dict[tuple[str, str], Document] = dict(SAMPLES)
    for base in next(iter(vectors("creation")))["bases"]:
        found.setdefault((base["apiVersion"], base["kind"]), base)
    found["v1", "Pod"] = POD
    return {(t.api_version, t.kind): found[t.api_version, t.kind] for t in types if t.kind != "ComponentStatus"}


class Trial:
    """The tries of one resource on one object."""

    def __init__(self, http: httpx.AsyncClient, type: ResourceType, sample: Document) -> None:
        self._http, self._type = http, type
        self._sample = {**sample, "apiVersion": type.api_version, "kind": type.kind}
        base = f"/apis/{type.group}/{type.version}" if type.group else "/api/v1"
        within = f"{base}/namespaces/default" if type.namespaced else base
        self._path = f"{within}/{type.resource}"
        self._name = (sample.get("metadata") or {}).get("name", "event-log")
        self._scope = f"fieldSelector=metadata.name={self._name}"
        self._named = f"{type.resource}.{type.version}.{type.group}".rstrip(".")
        self.rows: list[tuple[str, dict[str, str]]] = []
        self.notes: list[str] = []

    async def run(self) -> None:
        """Fill the rows: cells by verb, of the resource first, then of each of its subresources."""
        own: dict[str, str] = {}
        self.rows.append((self._named, own))
        for verb in ("create", "get", "list", "update", "patch", "apply"):
            own[verb] = await self._cell(verb, "")
        self._watch = asyncio.create_task(self._cell("watch", ""))
        for sub in self._type.subresources.values():
            cells = {verb: await self._cell(verb, sub.name) for verb in VERBS if verb in _METHODS}
            self.rows.append((f"{self._named}/{sub.name}", cells))
        for verb in ("delete", "deletecollection"):
            own[verb] = await self._cell(verb, "")
            if verb == "delete" and "create" in self._type.verbs:
                await self._send("POST", self._path, self._sample)

    async def settled(self) -> None:
        """The watch, which takes its second; all resources' at once."""
        self.rows[0][1]["watch"] = await self._watch

    async def _cell(self, verb: str, sub: str) -> str:
        offered = self._type.subresources[sub].verbs if sub else self._type.verbs
        is_offered = ("patch" if verb == "apply" else verb) in offered
        response = await self._try(verb, sub)
        if not is_offered:
            # What discovery does not offer is not there: no such method, or no such path.
            assert response.status_code in (404, 405), (self._type.qualified, sub, verb, response.text)
            return "–"
        if response.status_code < 400:
            return "works" if response.status_code < 300 else str(response.status_code)
        status = response.json()
        self.notes.append(f"{verb} of {self._named}{f'/{sub}' if sub else ''}: {status['message']}")
        return f"{response.status_code} {status['reason']}"

    async def _try(self, verb: str, sub: str) -> httpx.Response:
        if not sub and verb == "watch":
            return await self._send("GET", f"{self._path}?watch=1&timeoutSeconds=1&{self._scope}")
        if not sub and verb in _COLLECTION:
            query = "" if verb == "create" else f"?{self._scope}"
            body = self._sample if verb == "create" else None
            return await self._send(_COLLECTION[verb], self._path + query, body)
        path = "/".join(part for part in (self._path, self._name, sub) if part)
        if verb in ("get", "delete"):
            return await self._send(_METHODS[verb], path)
        if verb == "create":
            return await self._send("POST", path, BODIES.get(f"{self._type.resource}/{sub}", {}))
        if verb == "update":
            body = {} if sub in CONVERSATIONS else (await self._send("GET", self._readable(sub))).json()
            return await self._send("PUT", path, body)
        if verb == "apply":
            body = self._applied(sub)
            return await self._send("PATCH", f"{path}?fieldManager=test&force=true", body, "apply-patch+yaml")
        patch = PATCHES.get(f"{self._type.resource}/{sub}", {"metadata": {"labels": {"covered": "yes"}}})
        patch = {"spec": {"replicas": 1}} if sub == "scale" else patch
        return await self._send("PATCH", path, patch, "strategic-merge-patch+json")

    def _readable(self, sub: str) -> str:
        """Where the document to be sent back is read: the subresource, or the object where that has no get."""
        has_get = not sub or "get" in self._type.subresources[sub].verbs
        return "/".join(part for part in (self._path, self._name, sub if has_get else "") if part)

    def _applied(self, sub: str) -> Document:
        head = {"apiVersion": self._type.api_version, "kind": self._type.kind, "metadata": {"name": self._name}}
        if sub == "scale":
            kind = self._type.subresources[sub].kind
            return {**head, "apiVersion": kind.api_version, "kind": kind.kind, "spec": {"replicas": 2}}
        patch = PATCHES.get(f"{self._type.resource}/{sub}", {})
        if sub == "resize" or (sub == "status" and self._type.key == "componentstatuses"):
            patch = _RESIZED
        return {**head, **patch} if sub else {**self._sample, "metadata": {**head["metadata"], "labels": {"a": "b"}}}

    def is_of(self, resource: str) -> bool:
        return self._type.resource == resource

    async def _send(
        self, method: str, path: str, body: Document | None = None, media: str = "json"
    ) -> httpx.Response:
        headers = {"content-type": f"application/{media}"} if body is not None else {}
        return await self._http.request(method, path, json=body, headers=headers)


def _line(name: str, cells: Sequence[str]) -> str:
    return " | ".join([f"| {name:{NAME_WIDTH}}", *(f"{cell:{CELL_WIDTH}}" for cell in cells)]) + " |"


async def table(minor: str) -> str:
    """The whole table, as it is kept."""
    types = catalogue.load(minor).types
    known = samples(types)
    lines, notes = [], []
    async with rooms(minor=minor) as server, in_process(server.door) as http:
        trials = [Trial(http, type, known.get((type.api_version, type.kind), {})) for type in types]
        for trial in trials:
            if trial.is_of("bindings"):
                await http.post("/api/v1/namespaces/default/pods", json=POD)
            await trial.run()
            if trial.is_of("bindings"):
                await http.delete("/api/v1/namespaces/default/pods/covered?gracePeriodSeconds=0")
        for trial in trials:
            await trial.settled()
            lines += [_line(name, [cells.get(verb, "–") for verb in VERBS]) for name, cells in trial.rows]
            notes += trial.notes
    head = _line("resource", VERBS)
    ruler = _line("-" * NAME_WIDTH, ["-" * CELL_WIDTH] * len(VERBS))
    why = "\n".join(f"- {note}" for note in sorted(set(notes)))
    rows = "\n".join([head, ruler, *lines])
    return f"# What is served of Kubernetes {minor}\n\n{rows}\n\nRefused, and why:\n\n{why}\n"


async def _write(minors: Sequence[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for minor in minors or MINORS:
        (FOLDER / f"{minor}.md").write_text(await table(minor))


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1:]))
