"""Tables of every kind that kube-apiserver prints columns of, cell by cell as its printers print them.

The objects are of our own making, their status often absurd; the rows are of k8s.io/kubernetes/pkg/printers,
see `recorded.py`. What a column's description says is our own.
"""

from datetime import datetime
from typing import Any

from ksql.schema import catalogue
from ksql.schema.columns import tables
from tests.schema.recorded import vectors

CATALOGUE = catalogue.load()


def without_descriptions(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in column.items() if key != "description"} for column in columns]


def test_columns_are_those_of_kube_apiserver() -> None:
    columns = next(vectors("columns"))["columns"]
    assert len(columns) > 50
    for kind, wanted in columns.items():
        found = CATALOGUE.kind(*kind.split("/"))
        assert found is not None
        table = tables.table(found, [], now=datetime.fromisoformat("2026-01-01T00:00:00Z"))
        assert without_descriptions(table["columnDefinitions"]) == without_descriptions(wanted), kind


def test_cells_are_those_of_kube_apiserver() -> None:
    lines = vectors("columns")
    next(lines)
    for vector in lines:
        found = CATALOGUE.kind(*vector["gvk"])
        assert found is not None
        row = tables.row(found, vector["object"], now=datetime.fromisoformat(vector["now"]), include="None")
        assert row["cells"] == vector["row"]["cells"], (vector["gvk"], vector["object"])
        assert row.get("conditions") == vector["row"].get("conditions")
