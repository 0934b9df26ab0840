"""Custom kinds for tests: from a schema to what the catalogue serves."""

from typing import Any

from ksql.base.documents import Document
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.schema.custom.definitions import kinds_of
from ksql.schema.resources import ResourceType

NAMES = {"plural": "vals", "kind": "Val", "singular": "val", "listKind": "ValList"}


def established(schema: Document, **version: Any) -> Document:
    """A definition of `vals.example.com` as stored once it is served; `spec` may be given as a whole."""
    only = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "vals.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": NAMES, "versions": [only]},
        "status": {
            "acceptedNames": NAMES,
            "conditions": [{"type": "Established", "status": "True"}],
            "storedVersions": ["v1"],
        },
    }


def kind(schema: Document, **version: Any) -> tuple[Catalogue, ResourceType]:
    """A catalogue that serves the one kind with this schema, and the kind."""
    catalogue = catalogues.load()
    catalogue.serve(kinds_of(established(schema, **version)))
    return catalogue, catalogue.by_key("vals.example.com")


def spec_of(schema: Document) -> Document:
    """A root whose `spec` has this schema."""
    return {"type": "object", "properties": {"spec": schema}}


def val(**fields: Any) -> Document:
    return {"apiVersion": "example.com/v1", "kind": "Val", "metadata": {"name": "a"}, **fields}
