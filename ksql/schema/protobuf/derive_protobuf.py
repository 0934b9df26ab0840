"""Maintenance: derive `fields_protobuf.json` from kubectl and other Go binaries.

    python -m ksql.schema.protobuf.derive_protobuf kubectl.1.33 [another…] > ksql/schema/protobuf/fields_protobuf.json

Which field of which message has which number, JSON name and type are facts of the wire format. A Go
program built with reflection carries them all in its own type table: each struct's fields with their
`protobuf` and `json` tags, and whether a field is a pointer, which no published schema says (a pointer's
explicit zero must be kept, another field's dropped). This script reads that table from an unpacked,
statically linked 64-bit ELF executable of Go 1.20 or newer: the `.typelink` section lists types by their
distance from the start of `.rodata`, and `internal/abi/type.go` of Go's own library describes the layout.
It is run by hand when a new Kubernetes minor adds fields, never by the server. kubectl itself knows no
CustomResourceDefinitions as structs, so a second binary that does (any Go operator or deployment tool)
adds them; of two binaries that know a message the first counts. The present table comes from kubectl 1.33
and, for `apiextensions.v1`, anthoscli 0.2, both as Google's Cloud SDK packages them. What Kubernetes 1.36 adds
was read from the same tags in the source of `k8s.io/api`, since newer Go keeps no `.typelink` section.

The output has one line for each message: its short name (`apps.v1.Deployment`) and its fields in the order
of their numbers, parted by spaces, each `<number><flags><type>:<JSON name>`. Flags: `*` pointer, `[` list,
`{` map with string keys, `!` printed even when zero, `~` inline. Types: s string, y bytes, b bool, i int32,
l int64, d double, t Time, u MicroTime, q Quantity, o IntOrString, r raw JSON, x list of strings in a
message, A B C the three kinds of schema-or-something-else, `<name>` another message.
"""

import re
import struct
import sys
from itertools import takewhile
from pathlib import Path

_PTR_SIZE = 8
_TYPE_SIZE = 48  # abi.Type: what every kind of type starts with
_STRUCT_SIZE = 80
_FIELD_SIZE = 24
_FLAG_UNCOMMON = 1
_NAME_HAS_TAG = 2

BOOL, INT32, INT64, UINT8, FLOAT64, MAP, POINTER, SLICE, STRING, STRUCT = 1, 5, 6, 8, 14, 21, 22, 23, 24, 25
_SCALARS = {BOOL: "b", INT32: "i", INT64: "l", FLOAT64: "d", STRING: "s"}

_META = "k8s.io/apimachinery/pkg/apis/meta/v1"
_EXTENSIONS = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
_SPECIAL = {
    f"{_META}.Time": "t",
    f"{_META}.MicroTime": "u",
    f"{_META}.FieldsV1": "r",
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "q",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "o",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "r",
    f"{_EXTENSIONS}.JSON": "r",
    f"{_EXTENSIONS}.JSONSchemaPropsOrArray": "A",
    f"{_EXTENSIONS}.JSONSchemaPropsOrBool": "B",
    f"{_EXTENSIONS}.JSONSchemaPropsOrStringArray": "C",
}
# Named lists of strings that the wire holds as messages of their own.
_STRING_LISTS = ("ExtraValue", "Verbs")
_PACKAGES = (
    (re.compile(r"k8s\.io/api/([a-z0-9]+)/(v[0-9]+)"), r"\1.\2"),
    (re.compile(r"k8s\.io/apimachinery/pkg/apis/meta/(v1)"), r"meta.\1"),
    (re.compile(r"k8s\.io/apiextensions-apiserver/pkg/apis/apiextensions/(v1)"), r"apiextensions.\1"),
    # resource.k8s.io/v1 (Kubernetes 1.34) is v1beta2 under another name.
    (re.compile(r"k8s\.io/api/resource/(v1)beta2"), r"resource.\1"),
)

# What no binary at hand knows as structs, or knows too old: numbers and names copied by hand from the API's
# published reference (fields that Kubernetes 1.34 and 1.35 added, and the aggregation API).
_BY_HAND = {
    "apiextensions.v1.CustomResourceDefinitionCondition": "6l:observedGeneration",
    "apiextensions.v1.CustomResourceDefinitionStatus": "4l:observedGeneration",
    "apiextensions.v1.CustomResourceDefinitionVersion": (
        "9[<apiextensions.v1.SelectableField>:selectableFields"
    ),
    "apiextensions.v1.SelectableField": "1!s:jsonPath",
    "apiextensions.v1.ValidationRule": "3s:messageExpression 4*s:reason 5s:fieldPath 6*b:optionalOldSelf",
    "apiregistration.v1.APIService": (
        "1<meta.v1.ObjectMeta>:metadata 2<apiregistration.v1.APIServiceSpec>:spec "
        "3<apiregistration.v1.APIServiceStatus>:status"
    ),
    "apiregistration.v1.APIServiceCondition": (
        "1!s:type 2!s:status 3t:lastTransitionTime 4s:reason 5s:message"
    ),
    "apiregistration.v1.APIServiceList": "1<meta.v1.ListMeta>:metadata 2![<apiregistration.v1.APIService>:items",
    "apiregistration.v1.APIServiceSpec": (
        "1*<apiregistration.v1.ServiceReference>:service 2s:group 3s:version 4b:insecureSkipTLSVerify "
        "5y:caBundle 7!i:groupPriorityMinimum 8!i:versionPriority"
    ),
    "apiregistration.v1.APIServiceStatus": "1[<apiregistration.v1.APIServiceCondition>:conditions",
    "apiregistration.v1.ServiceReference": "1s:namespace 2s:name 3*i:port",
    "core.v1.Container": "25[<core.v1.ContainerRestartRule>:restartPolicyRules",
    "core.v1.ContainerExtendedResourceRequest": "1!s:containerName 2!s:resourceName 3!s:requestName",
    "core.v1.ContainerRestartRule": "1s:action 2*<core.v1.ContainerRestartRuleOnExitCodes>:exitCodes",
    "core.v1.ContainerRestartRuleOnExitCodes": "1s:operator 2[i:values",
    "core.v1.EnvVarSource": "5*<core.v1.FileKeySelector>:fileKeyRef",
    "core.v1.EphemeralContainerCommon": "25[<core.v1.ContainerRestartRule>:restartPolicyRules",
    "core.v1.FileKeySelector": "1!s:volumeName 2!s:path 3!s:key 4*b:optional",
    "core.v1.NodeStatus": "14[s:declaredFeatures",
    "core.v1.PodCertificateProjection": (
        "1s:signerName 2s:keyType 3*i:maxExpirationSeconds 4s:credentialBundlePath 5s:keyPath "
        "6s:certificateChainPath 7{s:userAnnotations"
    ),
    "core.v1.PodExtendedResourceClaimStatus": (
        "1![<core.v1.ContainerExtendedResourceRequest>:requestMappings 2!s:resourceClaimName"
    ),
    "core.v1.PodSpec": "41*s:hostnameOverride 42*<core.v1.WorkloadReference>:workloadRef",
    "core.v1.PodStatus": (
        "18*<core.v1.PodExtendedResourceClaimStatus>:extendedResourceClaimStatus 19{q:allocatedResources "
        "20*<core.v1.ResourceRequirements>:resources"
    ),
    "core.v1.VolumeProjection": "6*<core.v1.PodCertificateProjection>:podCertificate",
    "core.v1.WorkloadReference": "1!s:name 2!s:podGroup 3s:podGroupReplicaKey",
    "resource.v1.AllocatedDeviceStatus": "7*s:shareID",
    "resource.v1.AllocationResult": "5*t:allocationTimestamp",
    "resource.v1.CapacityRequestPolicy": (
        "1!*q:default 3[q:validValues 4*<resource.v1.CapacityRequestPolicyRange>:validRange"
    ),
    "resource.v1.CapacityRequestPolicyRange": "1*q:min 2*q:max 3*q:step",
    "resource.v1.CapacityRequirements": "1{q:requests",
    "resource.v1.Device": (
        "9*b:bindsToNode 10[s:bindingConditions 11[s:bindingFailureConditions 12*b:allowMultipleAllocations"
    ),
    "resource.v1.DeviceCapacity": "2*<resource.v1.CapacityRequestPolicy>:requestPolicy",
    "resource.v1.DeviceClassSpec": "4*s:extendedResourceName",
    "resource.v1.DeviceConstraint": "3*s:distinctAttribute",
    "resource.v1.DeviceRequestAllocationResult": (
        "7[s:bindingConditions 8[s:bindingFailureConditions 9*s:shareID 10{q:consumedCapacity"
    ),
    "resource.v1.DeviceSubRequest": "7*<resource.v1.CapacityRequirements>:capacity",
    "resource.v1.ExactDeviceRequest": "7*<resource.v1.CapacityRequirements>:capacity",
    "storage.v1.CSIDriverSpec": "10*b:serviceAccountTokenInSecrets",
    "storage.v1.VolumeAttributesClass": "1<meta.v1.ObjectMeta>:metadata 2!s:driverName 3{s:parameters",
    "storage.v1.VolumeAttributesClassList": (
        "1<meta.v1.ListMeta>:metadata 2![<storage.v1.VolumeAttributesClass>:items"
    ),
}


class Binary:
    """An ELF executable: its sections, and Go's types in them."""

    def __init__(self, data: bytes) -> None:
        if data[:5] != b"\x7fELF\x02":
            raise SystemExit("not a 64-bit ELF executable")
        self.data = data
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        rows = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
        # Name to address, offset in the file, size.
        self.sections: dict[str, tuple[int, int, int]] = {
            self._text(rows[names][4] + row[0]): (row[3], row[4], row[5]) for row in rows
        }
        self.base: int = self.sections[".rodata"][0]

    def _text(self, offset: int) -> str:
        return self.data[offset : self.data.index(b"\0", offset)].decode()

    def offset(self, address: int) -> int:
        """Where in the file the memory at this address comes from."""
        for name, (start, offset, size) in self.sections.items():
            if start and start <= address < start + size and "bss" not in name:
                return address - start + offset
        raise ValueError(f"no section holds address {address:#x}")

    def number(self, offset: int, form: str = "<Q") -> int:
        return int(struct.unpack_from(form, self.data, offset)[0])

    def name(self, address: int) -> tuple[str, str]:
        """A Go name and its tag."""
        offset = self.offset(address)
        text, end = self._counted(offset + 1)
        return text, self._counted(end)[0] if self.data[offset] & _NAME_HAS_TAG else ""

    def _counted(self, offset: int) -> tuple[str, int]:
        length = shift = 0
        while True:
            byte = self.data[offset]
            length |= (byte & 0x7F) << shift
            offset, shift = offset + 1, shift + 7
            if byte < 0x80:
                return self.data[offset : offset + length].decode(errors="replace"), offset + length

    def linked(self) -> list[int]:
        """The addresses of all types that reflection can look up."""
        _, offset, size = self.sections[".typelink"]
        return [self.base + distance for distance in struct.unpack_from(f"<{size // 4}i", self.data, offset)]


class GoType:
    """One type of the program."""

    def __init__(self, binary: Binary, address: int) -> None:
        self._binary, self.address = binary, address
        self._offset = binary.offset(address)
        self.flags = binary.data[self._offset + 20]
        self.kind = binary.data[self._offset + 23] & 0x1F

    @property
    def name(self) -> str:
        """import/path.Name, or "" for a type without one."""
        if not self.flags & _FLAG_UNCOMMON:
            return ""
        sizes = {STRUCT: _STRUCT_SIZE, POINTER: 56, SLICE: 56}
        after = self._offset + sizes.get(self.kind, _TYPE_SIZE)
        # A map's own part differs between Go's versions; no map of the API needs its package.
        if self.kind == MAP:
            return ""
        package = self._binary.number(after, "<i")
        path = self._binary.name(self._binary.base + package)[0] if package else ""
        text = self._binary.name(self._binary.base + self._binary.number(self._offset + 40, "<i"))[0]
        return f"{path}.{text.rpartition('.')[2]}"

    @property
    def element(self) -> "GoType":
        """What a pointer, slice or map holds."""
        at = self._offset + _TYPE_SIZE + (_PTR_SIZE if self.kind == MAP else 0)
        return GoType(self._binary, self._binary.number(at))

    def fields(self) -> list[tuple[str, str, "GoType"]]:
        """Name, tag and type of a struct's fields."""
        start = self._binary.number(self._offset + _TYPE_SIZE + 8)
        count = self._binary.number(self._offset + _TYPE_SIZE + 16)
        out = []
        for index in range(count):
            at = self._binary.offset(start) + index * _FIELD_SIZE
            name, tag = self._binary.name(self._binary.number(at))
            out.append((name, tag, GoType(self._binary, self._binary.number(at + _PTR_SIZE))))
        return out


def short_name(full: str) -> str | None:
    """apps.v1.Deployment for k8s.io/api/apps/v1.Deployment; None outside the API."""
    package, _, name = full.rpartition(".")
    for pattern, replacement in _PACKAGES:
        if match := pattern.fullmatch(package):
            return f"{match.expand(replacement)}.{name}"
    return None


def field_type(type: GoType) -> tuple[str, list[GoType]]:
    """Flags and type of a field, and the structs it refers to."""
    if type.kind == POINTER:
        text, structs = field_type(type.element)
        return f"*{text}", structs
    if type.name.rpartition(".")[2] in _STRING_LISTS:
        return "x", []
    if type.kind == SLICE:
        if type.element.kind == UINT8:
            return "y", []
        text, structs = field_type(type.element)
        return f"[{text}", structs
    if type.kind == MAP:
        text, structs = field_type(type.element)
        return f"{{{text}", structs
    if type.kind == STRUCT:
        special = _SPECIAL.get(type.name)
        return (special, []) if special else (f"<{short_name(type.name) or type.name}>", [type])
    return _SCALARS[type.kind], []


def message(type: GoType) -> tuple[str, list[GoType]]:
    """A struct's line of fields, and the structs it refers to."""
    fields, structs = [], []
    for name, tag, inner in type.fields():
        wire = re.search(r'protobuf:"([^"]*)"', tag)
        printed = re.search(r'json:"([^"]*)"', tag)
        if wire is None or wire[1] == "-" or printed is None:
            continue
        json_name, *options = printed[1].split(",")
        text, found = field_type(inner)
        structs += found
        flags = "~" if "inline" in options or not json_name else "" if "omitempty" in options else "!"
        fields.append((int(wire[1].split(",")[1]), f"{flags}{text}:{json_name or name}"))
    return " ".join(f"{number}{text}" for number, text in sorted(fields)), structs


def derive(binary: Binary) -> dict[str, str]:
    """Every message of the API's stable versions and of what they refer to."""
    pending = [GoType(binary, address) for address in binary.linked()]
    seen: dict[int, None] = {}
    messages = {}
    while pending:
        type = pending.pop()
        if type.kind in (POINTER, SLICE):
            type = type.element
        if type.kind != STRUCT or type.address in seen:
            continue
        seen[type.address] = None
        full = type.name
        short = short_name(full)
        if short is None or full in _SPECIAL:
            continue
        line, structs = message(type)
        pending += structs
        if line:
            messages[short] = line
    return messages


def supplemented(messages: dict[str, str]) -> dict[str, str]:
    """The messages with what was written by hand; a field a binary knows counts more."""
    out = dict(messages)
    for name, line in _BY_HAND.items():
        known = out.get(name, "").split()
        numbers = {_number(field) for field in known}
        out[name] = " ".join(known + [field for field in line.split() if _number(field) not in numbers])
    # A message without fields has no line of its own, but others refer to it.
    for line in list(out.values()):
        for name in re.findall("<([^>]*)>", line):
            out.setdefault(name, "")
    return dict(sorted(out.items()))


def _number(field: str) -> int:
    return int("".join(takewhile(str.isdigit, field)))


def main() -> None:
    messages: dict[str, str] = {}
    for path in sys.argv[1:]:
        messages = derive(Binary(Path(path).read_bytes())) | messages
    rows = ",\n".join(f'"{name}":"{line}"' for name, line in supplemented(messages).items())
    sys.stdout.write(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
