"""Profiles: one scheduler, several ways of liking nodes, chosen by a pod's `schedulerName`.

Read from kube-scheduler's own configuration file (`kubescheduler.config.k8s.io/v1`), of which the part is known that
ksql honours; everything else in it is refused by name, so that nothing is believed to be in force that is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from ksql.base.documents import Document
from ksql.control.scheduling.records import NAME

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"

# View by plugin, and kube-scheduler's default weights.
PLUGINS = {
    "NodeResourcesFit": "room", "NodeResourcesBalancedAllocation": "balance", "NodeAffinity": "affinity",
    "TaintToleration": "taints", "PodTopologySpread": "spread", "InterPodAffinity": "company",
    "ImageLocality": "images",
}  # fmt: skip
WEIGHTS: Mapping[str, int] = {
    "room": 1, "balance": 1, "affinity": 2, "taints": 3, "spread": 2, "company": 2, "images": 1,
}  # fmt: skip
WEIGHT_MAX = 2**31 // 100  # what keeps a weighted score an int32 in kube-scheduler
EXTENDER_SCORE_MAX = 10
EXTENDER_SECONDS = 30.0
STRATEGIES = {"LeastAllocated": False, "MostAllocated": True}


class ConfigurationError(ValueError):
    """A scheduler configuration that cannot be honoured; the message names the field."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How nodes are liked: weights by view, and whether full nodes are preferred to empty ones."""

    name: str = NAME
    is_packing: bool = False
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)

    @property
    def room_key(self) -> tuple[bool, int, int]:
        return self.is_packing, self.weights["room"], self.weights["balance"]


DEFAULT = Profile()


@dataclass(frozen=True, slots=True)
class Extender:
    """A program that is asked over HTTP. Verbs are empty where it has no say."""

    url: str
    filter: str = ""
    prioritize: str = ""
    bind: str = ""
    weight: int = 1
    seconds: float = EXTENDER_SECONDS
    is_ignorable: bool = False  # whether pods are scheduled without it while it does not answer
    takes_names: bool = False  # node names instead of whole nodes
    resources: frozenset[str] = frozenset()  # asked only about pods that want one of these; empty: about all


@dataclass(frozen=True, slots=True)
class Configuration:
    """Profiles by name, and extenders in their order."""

    profiles: Mapping[str, Profile] = field(default_factory=lambda: {NAME: DEFAULT})
    extenders: tuple[Extender, ...] = ()


def read(text: str) -> Configuration:
    """The configuration that a file says; `ConfigurationError` names what is wrong or not honoured."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigurationError("a KubeSchedulerConfiguration is a mapping")
    if (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise ConfigurationError(f"apiVersion and kind must be {API_VERSION} and {KIND}")
    _only(document, "", {"apiVersion", "kind", "profiles", "extenders"})
    profiles: dict[str, Profile] = {}
    for index, given in enumerate(_list(document, "profiles", "")):
        profile = _profile(given, f"profiles[{index}]")
        if profile.name in profiles:
            raise ConfigurationError(f"profiles[{index}].schedulerName: {profile.name!r} is there twice")
        profiles[profile.name] = profile
    extenders = [_extender(one, f"extenders[{i}]") for i, one in enumerate(_list(document, "extenders", ""))]
    if sum(bool(one.bind) for one in extenders) > 1:
        raise ConfigurationError("extenders: only one may have a bindVerb")
    return Configuration(profiles or {NAME: DEFAULT}, tuple(extenders))


def _profile(given: Any, path: str) -> Profile:
    _only(given, path, {"schedulerName", "plugins", "pluginConfig"})
    name = given.get("schedulerName") or NAME
    plugins = given.get("plugins") or {}
    _only(plugins, f"{path}.plugins", {"score", "multiPoint"})
    weights = dict(WEIGHTS)
    for point in ("multiPoint", "score"):
        _reweigh(weights, plugins.get(point) or {}, f"{path}.plugins.{point}", is_all=point == "multiPoint")
    packing = False
    for index, one in enumerate(_list(given, "pluginConfig", path)):
        packing = _packing(one, f"{path}.pluginConfig[{index}]")
    return Profile(name, packing, weights)


def _reweigh(weights: dict[str, int], point: Any, path: str, *, is_all: bool) -> None:
    _only(point, path, {"enabled", "disabled"})
    for index, one in enumerate(_list(point, "disabled", path)):
        where = f"{path}.disabled[{index}]"
        _only(one, where, {"name"})
        if is_all:
            raise ConfigurationError(f"{where}: filters cannot be switched off; disable scores under plugins.score")
        for view in WEIGHTS if one.get("name") == "*" else [_view(one, where)]:
            weights[view] = 0
    for index, one in enumerate(_list(point, "enabled", path)):
        where = f"{path}.enabled[{index}]"
        _only(one, where, {"name", "weight"})
        view = _view(one, where)
        weight = one.get("weight") or WEIGHTS[view]
        if not isinstance(weight, int) or not 0 < weight <= WEIGHT_MAX:
            raise ConfigurationError(f"{where}.weight: must be an integer from 1 to {WEIGHT_MAX}")
        weights[view] = weight


def _view(one: Document, path: str) -> str:
    name = str(one.get("name") or "")
    if name not in PLUGINS:
        raise ConfigurationError(f"{path}.name: {name!r} is no score of ksql's; there are {', '.join(PLUGINS)}")
    return PLUGINS[name]


def _packing(one: Any, path: str) -> bool:
    _only(one, path, {"name", "args"})
    if one.get("name") != "NodeResourcesFit":
        raise ConfigurationError(f"{path}.name: only NodeResourcesFit takes arguments in ksql")
    args = one.get("args") or {}
    _only(args, f"{path}.args", {"apiVersion", "kind", "scoringStrategy"})
    strategy = args.get("scoringStrategy") or {}
    _only(strategy, f"{path}.args.scoringStrategy", {"type"})
    type = strategy.get("type") or "LeastAllocated"
    if type not in STRATEGIES:
        raise ConfigurationError(f"{path}.args.scoringStrategy.type: must be one of {', '.join(STRATEGIES)}")
    return STRATEGIES[type]


def _extender(one: Any, path: str) -> Extender:
    known = {
        "urlPrefix", "filterVerb", "prioritizeVerb", "bindVerb", "weight", "httpTimeout", "ignorable",
        "nodeCacheCapable", "managedResources",
    }  # fmt: skip
    _only(one, path, known)
    url = str(one.get("urlPrefix") or "")
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{path}.urlPrefix: must be an http or https URL")
    weight = one.get("weight") or 1
    if not isinstance(weight, int) or weight < 1:
        raise ConfigurationError(f"{path}.weight: must be a positive integer")
    resources = frozenset(str(r.get("name") or "") for r in _list(one, "managedResources", path))
    return Extender(
        url.rstrip("/"), one.get("filterVerb") or "", one.get("prioritizeVerb") or "", one.get("bindVerb") or "",
        weight, _seconds(one.get("httpTimeout"), f"{path}.httpTimeout"), bool(one.get("ignorable")),
        bool(one.get("nodeCacheCapable")), resources,
    )  # fmt: skip


def _seconds(text: Any, path: str) -> float:
    if text is None:
        return EXTENDER_SECONDS
    for suffix, unit in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if isinstance(text, str) and text.endswith(suffix):
            try:
                found = float(text.removesuffix(suffix)) * unit
            except ValueError:
                break
            if found > 0:
                return found
    raise ConfigurationError(f"{path}: must be a duration such as 500ms or 5s")


def _only(given: Any, path: str, known: set[str]) -> None:
    if not isinstance(given, dict):
        raise ConfigurationError(f"{path}: must be a mapping")
    for key in given:
        if key not in known:
            where = f"{path}.{key}" if path else key
            raise ConfigurationError(f"{where}: not honoured by ksql; known are {', '.join(sorted(known))}")


def _list(given: Mapping[str, Any], key: str, path: str) -> list[Any]:
    found = given.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise ConfigurationError(f"{path}.{key}: must be a list" if path else f"{key}: must be a list")
    return found
