"""Field paths are read as differences print them."""

from typing import Any

import pytest

from ksql.history.paths import PATH_CHARACTERS_MAX, PathError, lookup

DOCUMENT = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web", "a": "b"}},
    "spec": {
        "replicas": 3,
        "containers": [
            {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80}], "args": ["-v", "-q"]}
        ],
    },
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.replicas", 3),
        (".spec.replicas", 3),
        ("spec.containers[web].image", "nginx:1"),
        ("spec.containers[0].image", "nginx:1"),
        ("spec.containers[web].ports[80].containerPort", 80),
        ("spec.containers[web].args[1]", "-q"),
        ("spec.containers[web].args[-q]", "-q"),
        ("metadata.labels[app.kubernetes.io/name]", "web"),
        ("/metadata/labels/app.kubernetes.io~1name", "web"),
        ("/spec/containers/0/image", "nginx:1"),
        ("", DOCUMENT),
        ("spec.nothing", None),
        ("spec.replicas.deeper", None),
        ("spec.containers[nobody].image", None),
        ("spec.containers[7]", None),
    ],
)
def test_lookup(path: str, expected: Any) -> None:
    assert lookup(DOCUMENT, path) == expected


@pytest.mark.parametrize("path", ["spec..replicas", "spec.[a", "a]b", "a" * (PATH_CHARACTERS_MAX + 1)])
def test_what_is_no_path_is_told_so(path: str) -> None:
    with pytest.raises(PathError):
        lookup(DOCUMENT, path)
