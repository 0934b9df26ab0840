"""The variables of a container's processes, as a kubelet fills them in when it starts a container.

First the services of the namespace, then what `envFrom` brings, then `env` in its order, each seeing what
came before it in `$(NAME)`. What a pod names and the cluster has not is a `ConfigurationError` in a
kubelet's words: such a container waits.
"""

import base64
import contextlib
import re
from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document
from ksql.client import Client
from ksql.schema import quantities
from ksql.schema.errors import ApiError, NotFoundError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DOMAIN = "cluster.local"
SOURCES = {"configMap": "configmaps", "secret": "secrets"}
# How a reference names its object, by source: env refs and volumes differ for secrets.
_NAMES = ("name", "secretName")
_REFERENCE = re.compile(r"\$\$|\$\(([^()$]+)\)")


class ConfigurationError(Exception):
    """A container cannot be started as its pod describes it."""


async def environment_of(client: Client, pod: Document, container: Document) -> dict[str, str]:
    """Every variable that a container's processes start with."""
    metadata = pod["metadata"]
    found = {"PATH": PATH, "HOSTNAME": hostname_of(pod), "HOME": "/root"}
    found |= await _services(client, pod)
    if container.get("tty"):
        found["TERM"] = "xterm"
    for source in container.get("envFrom") or ():
        for kind in SOURCES:
            if reference := source.get(f"{kind}Ref"):
                data = await data_of(client, metadata["namespace"], kind, reference)
                found |= {source.get("prefix", "") + key: text.decode(errors="replace") for key, text in data.items()}
    for variable in container.get("env") or ():
        text: str | None = filled(variable.get("value", ""), found)
        if "valueFrom" in variable:
            text = await _value(client, pod, container, variable["valueFrom"])
        if text is not None:
            found[variable["name"]] = text
    return found


def names_others(pod: Document, container: Document) -> bool:
    """Whether a container needs what its pod does not hold itself: ConfigMaps, Secrets, and keys of theirs."""
    if container.get("envFrom") or any(mount.get("subPathExpr") for mount in container.get("volumeMounts") or ()):
        return True
    sources = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
    if any(f"{kind}KeyRef" in source for source in sources for kind in SOURCES):
        return True
    return any(
        kind in source
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ()))
        for kind in SOURCES
    )


async def check(client: Client, pod: Document, container: Document) -> None:
    """`ConfigurationError` for the first variable that cannot be had."""
    for source in container.get("envFrom") or ():
        for kind in SOURCES:
            if reference := source.get(f"{kind}Ref"):
                await data_of(client, pod["metadata"]["namespace"], kind, reference)
    for variable in container.get("env") or ():
        if source := variable.get("valueFrom"):
            await _value(client, pod, container, source)


def hostname_of(pod: Document) -> str:
    """The name that a pod calls itself, no longer than a machine's may be."""
    name: str = pod["spec"].get("hostname") or pod["metadata"]["name"]
    if pod["spec"].get("hostNetwork") and pod["spec"].get("nodeName"):
        name = pod["spec"]["nodeName"]
    return name[:63].rstrip("-.")


def domain_name_of(pod: Document) -> str:
    """The full name of a pod in the cluster's domain; without a subdomain it has none but its own."""
    name, subdomain = hostname_of(pod), pod["spec"].get("subdomain")
    return f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.{DOMAIN}" if subdomain else name


def filled(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` replaced by what it stands for, `$$` by a dollar; what is not known stays as it is."""
    if "$" not in text:
        return text

    def meant(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return _REFERENCE.sub(meant, text)


async def _services(client: Client, pod: Document) -> dict[str, str]:
    """Where the services of the namespace are, and the API server always."""
    namespace = pod["metadata"]["namespace"]
    services: list[Document] = []
    with contextlib.suppress(ApiError):
        services.append(await client.get("services", "default", "kubernetes"))
    if pod["spec"].get("enableServiceLinks", True):
        known = {one["metadata"]["uid"] for one in services}
        listing = await client.list("services", namespace)
        services += [one for one in listing.items if one["metadata"]["uid"] not in known]
    found: dict[str, str] = {}
    for service in services:
        address, ports = service["spec"].get("clusterIP"), service["spec"].get("ports") or ()
        if not ports or not address or address == "None":
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        first = ports[0]
        found |= {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(first["port"])}
        found |= {
            f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}": str(port["port"])
            for port in ports if port.get("name")
        }  # fmt: skip
        found[f"{name}_PORT"] = f"{first['protocol'].lower()}://{address}:{first['port']}"
        for port in ports:
            protocol, number = port["protocol"], port["port"]
            prefix = f"{name}_PORT_{number}_{protocol}"
            found |= {
                prefix: f"{protocol.lower()}://{address}:{number}", f"{prefix}_PROTO": protocol.lower(),
                f"{prefix}_PORT": str(number), f"{prefix}_ADDR": address,
            }  # fmt: skip
    return found


async def _value(client: Client, pod: Document, container: Document, source: Document) -> str | None:
    if field := source.get("fieldRef"):
        return field_of(pod, field["fieldPath"])
    if resource := source.get("resourceFieldRef"):
        return await amount_of(client, pod, container, resource)
    for kind in SOURCES:
        if reference := source.get(f"{kind}KeyRef"):
            data = await data_of(client, pod["metadata"]["namespace"], kind, reference)
            if reference["key"] in data:
                return data[reference["key"]].decode(errors="replace")
            if reference.get("optional"):
                return None
            where = f"{pod['metadata']['namespace']}/{reference['name']}"
            raise ConfigurationError(f"couldn't find key {reference['key']} in {kind[0].upper()}{kind[1:]} {where}")
    return ""


async def amount_of(client: Client, pod: Document, container: Document, source: Document) -> str:
    """What the downward API says of a container's resources: whole divisors, rounded up."""
    kind, _, name = source["resource"].partition(".")
    resources = container.get("resources") or {}
    text = (resources.get(kind) or {}).get(name)
    if text is None and kind == "limits":
        # Without a limit of its own a container may have what the node has.
        try:
            node = await client.get("nodes", "", pod["spec"].get("nodeName", ""))
            text = ((node.get("status") or {}).get("allocatable") or {}).get(name)
        except ApiError:
            text = None
    amount = quantities.parse(text or "0")
    divisor = quantities.parse(source.get("divisor") or "0")
    if not divisor:
        divisor = quantities.parse("1")
    if name == "cpu":
        return str(-(-amount.milli // divisor.milli))
    return str(-(-amount.value // divisor.value))


def field_of(pod: Document, path: str) -> str:
    """What the downward API says under a path."""
    if path.endswith("']"):
        above, _, key = path[:-2].partition("['")
        return str((_walk(pod, above) or {}).get(key, ""))
    if path == "spec.serviceAccountName":
        return str(pod["spec"].get("serviceAccountName", "default"))
    if path in ("status.hostIPs", "status.podIPs"):
        return ",".join(entry["ip"] for entry in _walk(pod, path) or ())
    found = _walk(pod, path)
    if isinstance(found, dict):
        return "\n".join(f'{key}="{_escaped(text)}"' for key, text in sorted(found.items()))
    return "" if found is None else str(found)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _walk(document: Document, path: str) -> Any:
    found: Any = document
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


async def data_of(client: Client, namespace: str, kind: str, reference: Document) -> dict[str, bytes]:
    """The keys of the ConfigMap or Secret that a reference names; none when it is optional and not there."""
    name = next((reference[key] for key in _NAMES if reference.get(key)), "")
    try:
        document = await client.get(SOURCES[kind], namespace, name)
    except NotFoundError:
        if reference.get("optional"):
            return {}
        raise ConfigurationError(f'{kind.lower()} "{name}" not found') from None
    except ApiError as error:
        raise ConfigurationError(str(error)) from None
    data = document.get("data") or {}
    if kind == "secret":
        return {key: base64.b64decode(text) for key, text in data.items()}
    binary = {key: base64.b64decode(text) for key, text in (document.get("binaryData") or {}).items()}
    return {**{key: text.encode() for key, text in data.items()}, **binary}
