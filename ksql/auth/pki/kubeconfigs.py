"""The configuration by which kubectl reaches the cluster as its administrator."""

import contextlib
from base64 import b64encode
from pathlib import Path

import yaml

from ksql.auth.pki.files import close, write_private
from ksql.auth.pki.keeping import Pki
from ksql.auth.pki.record import ADMIN_USER, SERVING
from ksql.base.documents import Document


def kubeconfig(pki: Pki, server: str) -> Document:
    """A configuration for kubectl with everything embedded: the administrator at `server`."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "ksql",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": b64encode(pki.bundle(SERVING)).decode(),
                },
            }
        ],
        "users": [
            {
                "name": ADMIN_USER,
                "user": {
                    "client-certificate-data": b64encode(pki.admin.certificate).decode(),
                    "client-key-data": b64encode(pki.admin.key).decode(),
                },
            }
        ],
        "contexts": [
            {"name": "ksql", "context": {"cluster": "ksql", "user": ADMIN_USER, "namespace": "default"}}
        ],
        "current-context": "ksql",
    }


def write_kubeconfig(path: Path, pki: Pki, server: str) -> None:
    """Write it for its owner's eyes only; unchanged content is left alone."""
    data = yaml.safe_dump(kubeconfig(pki, server), sort_keys=False).encode()
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == data:
            close(path)
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, data)
