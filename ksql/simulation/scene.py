"""The scene of every incident: a shop with a database and a cache, an office beside it, and people at work.

`SCENE` is applied first. `EARLIER` and `LATER` are what innocent people do before and after the culprit's change:
much of it in the very objects that the shop depends on, so that to be near is not to be guilty.
"""

from typing import Any

from ksql.base.documents import Document
from ksql.simulation.incidents import SHOP, Act, apply, delete, patch, wait


def _object(api_version: str, kind: str, name: str, namespace: str = SHOP, **rest: Any) -> Document:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _template(name: str, **spec: Any) -> Document:
    containers = spec.pop("containers", None) or [
        {"name": name, "image": f"example.com/shop/{name}:1.0", "resources": {"requests": {"cpu": "100m"}}}
    ]
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers, **spec}}


def _workload(kind: str, name: str, replicas: int, template: Document, namespace: str = SHOP, **spec: Any) -> Document:
    selector = {"matchLabels": {"app": name}}
    return _object("apps/v1", kind, name, namespace, spec={
        "replicas": replicas, "selector": selector, "template": template, **spec,
    })  # fmt: skip


def _service(name: str, namespace: str = SHOP) -> Document:
    return _object("v1", "Service", name, namespace, spec={"selector": {"app": name}, "ports": [{"port": 80}]})


def _reference(kind: str, name: str, key: str) -> Document:
    return {"valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}


# The web server is ready when the database answers it.
_READY = {"exec": {"command": ["wget", "-q", "-O", "-", "http://db.shop.svc/"]}, "periodSeconds": 5}
_WEB_CONTAINER = {
    "name": "web",
    "image": "nginx:1.27",
    "readinessProbe": _READY,
    "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}},
    "env": [
        {"name": "COLOUR", **_reference("configMap", "web-config", "colour")},
        {"name": "DB_PASSWORD", **_reference("secret", "db-login", "password")},
        {"name": "DB_HOST", "value": "db.shop.svc"},
        {"name": "CACHE", "value": "cache:6379"},
    ],
}

_DB_CONTAINER = {
    "name": "db",
    "image": "nginx:1.27",
    "resources": {"requests": {"cpu": "100m"}},
    "readinessProbe": {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5},
}

SCENE: tuple[Document, ...] = (
    _object("v1", "Namespace", SHOP, ""),
    _object("v1", "Namespace", "office", ""),
    _object("scheduling.k8s.io/v1", "PriorityClass", "shop-critical", "", value=1000),
    _object("v1", "ServiceAccount", "web"),
    _object("v1", "ConfigMap", "web-config", data={"colour": "blue", "motd": "welcome"}),
    _object("v1", "ConfigMap", "prices", data={"tea": "3"}),
    _object("v1", "Secret", "db-login", stringData={"user": "shop", "password": "correct-horse"}),
    _workload("StatefulSet", "db", 1, _template(
        "db", containers=[_DB_CONTAINER], nodeSelector={"disk": "fast"},
    ), serviceName="db"),
    _service("db"),
    _workload("Deployment", "cache", 1, _template("cache")),
    _service("cache"),
    _workload("Deployment", "web", 3, _template(
        "web", containers=[_WEB_CONTAINER], serviceAccountName="web", priorityClassName="shop-critical",
    )),
    _service("web"),
    _workload("Deployment", "mail", 2, _template("mail"), "office"),
    _service("mail", "office"),
)  # fmt: skip
# The one machine with a fast disk: the database can run nowhere else.
NODE_LABEL = patch("admin", ("nodes", "", "node-1"), {"metadata": {"labels": {"disk": "fast"}}})

EARLIER: tuple[Act, ...] = (
    patch("frank", ("configmaps", SHOP, "web-config"), {"data": {"motd": "good morning"}}),
    wait(45),
    patch("grace", ("deployments.apps", SHOP, "cache"), {"spec": {"replicas": 2}}),
    wait(60),
    patch("frank", ("services", SHOP, "web"), {"metadata": {"labels": {"team": "front"}}}),
    apply("heidi", _object("v1", "ConfigMap", "banner", data={"text": "sale"})),
    wait(30),
    patch("ivan", ("nodes", "", "node-3"), {"metadata": {"labels": {"rack": "b"}}}),
    patch("heidi", ("deployments.apps", "office", "mail"), {"spec": {"replicas": 3}}),
    wait(40),
    patch("grace", ("secrets", SHOP, "db-login"), {"metadata": {"annotations": {"example.com/owner": "grace"}}}),
    wait(90),
)

LATER: tuple[Act, ...] = (
    patch("frank", ("configmaps", SHOP, "prices"), {"data": {"tea": "4"}}),
    wait(3),
    patch("heidi", ("deployments.apps", "office", "mail"), {"metadata": {"labels": {"checked": "yes"}}}),
    delete("heidi", ("configmaps", SHOP, "banner")),
    patch("ivan", ("nodes", "", "node-2"), {"metadata": {"labels": {"rack": "a"}}}),
    wait(2),
    patch("grace", ("serviceaccounts", SHOP, "default"), {"metadata": {"labels": {"team": "front"}}}),
)
