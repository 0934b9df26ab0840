"""Maintenance: derive `fields_internal.json` from the type declarations of a Kubernetes source tree.

    python -m ksql.schema.golang.derive_internal path/to/pkg/apis path/to/k8s.io/api > fields_internal.json

kube-apiserver judges objects in versions of its own that are never on the wire. They have no JSON names, so
where a message shows a whole structure, or the difference of two, it has Go's names, Go's order and every
zero. This table holds those facts for what such messages show. It is made by hand when a new minor is served,
never by the server.

One line a structure, its fields parted by spaces, each `<flags><type>:<JSON name>:<Go name>`. Flags: `*`
pointer, `[` list, `{` map with string keys, `~` embedded. Types: s string, b bool, i number, y bytes, q
Quantity, t Time, o IntOrString, r raw, `<name>` another structure (`meta.v1.…` has JSON names of its own).
"""

import re
import sys
from pathlib import Path

ROOTS = (
    "core.PodSpec", "core.EphemeralContainer", "core.PersistentVolumeClaimSpec", "core.PersistentVolumeSource",
    "core.ServicePort", "core.PodTemplateSpec", "apps.DaemonSetUpdateStrategy", "apps.DeploymentStrategy",
    "apps.StatefulSetSpec", "batch.JobSpec", "core.PodIP", "core.HostIP", "core.TopologySelectorTerm",
    "resource.ResourceClaimSpec", "resource.ResourceClaimTemplateSpec", "resource.DeviceAttribute",
    "storage.VolumeAttachmentSpec",
)  # fmt: skip
GROUPS = ("core", "apps", "batch", "resource", "storage")
_SCALARS = {
    "string": "s", "bool": "b", "int": "i", "int32": "i", "int64": "i", "float64": "i", "types.UID": "s",
    "resource.Quantity": "q", "metav1.Time": "t", "intstr.IntOrString": "o", "runtime.RawExtension": "r",
    "[]byte": "y", "runtime.Object": "r",
}  # fmt: skip
# Fields that are newer than the minor which is served by default, and what stands in their place.
_RENAMED = {("core.PodSpec", "SchedulingGroup"): "*<core.WorkloadReference>:workloadRef:WorkloadRef"}


class Source:
    """The declarations of one package: structures with their fields, and what other names stand for."""

    def __init__(self, group: str, text: str) -> None:
        self.group = group
        text = re.sub(r"//[^\n]*", "", text)
        self.structs = {
            name: [line.split() for line in body.splitlines() if line.strip()]
            for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S)
        }
        self.aliases = dict(re.findall(r"^type (\w+) +((?:map\[\w+\]|\[\])?[\w.]+) *$", text, re.M))


def json_names(text: str) -> dict[tuple[str, str], str]:
    """(structure, Go field) to JSON name, from the published version's tags."""
    out = {}
    for name, body in re.findall(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
        for field, tag in re.findall(r'^\t(\w+)\s[^`\n]*`[^`\n]*json:"([^",]+)', body, re.M):
            out[name, field] = tag
    return out


def field_type(sources: dict[str, Source], group: str, text: str) -> tuple[str, list[str]]:
    """Flags and type of a Go type, and the structures it refers to."""
    if text in _SCALARS:
        return _SCALARS[text], []
    for prefix, flag in (("*", "*"), ("[]", "[")):
        if text.startswith(prefix):
            inner, found = field_type(sources, group, text[len(prefix) :])
            return flag + inner, found
    if match := re.fullmatch(r"map\[[\w.]+\](.*)", text):
        inner, found = field_type(sources, group, match[1])
        return "{" + inner, found
    package, _, name = text.rpartition(".")
    if package == "metav1":
        return f"<meta.v1.{name}>", []
    source = sources[package or group]
    if name in source.structs:
        return f"<{source.group}.{name}>", [f"{source.group}.{name}"]
    return field_type(sources, source.group, source.aliases[name])


def derive(internal: Path, published: Path) -> dict[str, str]:
    sources = {group: Source(group, (internal / group / "types.go").read_text()) for group in GROUPS}
    sources["api"] = sources["core"]
    names = {group: json_names((published / group / "v1" / "types.go").read_text()) for group in GROUPS}
    pending, lines = list(ROOTS), {}
    while pending:
        whole = pending.pop()
        if whole in lines:
            continue
        group, _, name = whole.partition(".")
        fields = []
        for parts in sources[group].structs[name]:
            embedded = len(parts) == 1 or parts[1].startswith("`")
            field, go_type = ("", parts[0]) if embedded else (parts[0], parts[1])
            if go_type == "metav1.TypeMeta":
                continue
            text, found = field_type(sources, group, go_type)
            pending += found
            json_name = names[group].get((name, field)) or field[:1].lower() + field[1:]
            flags = "~" if embedded else ""
            if embedded and "meta.v1" in text:
                json_name = "metadata"
            fields.append(_RENAMED.get((whole, field), f"{flags}{text}:{json_name}:{field}"))
        lines[whole] = " ".join(fields)
    lines["core.WorkloadReference"] = "s:name:Name s:podGroup:PodGroup s:podGroupReplicaKey:PodGroupReplicaKey"
    return dict(sorted(lines.items()))


def main() -> None:
    rows = ",\n".join(f'"{name}":"{line}"' for name, line in derive(Path(sys.argv[1]), Path(sys.argv[2])).items())
    sys.stdout.write(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
