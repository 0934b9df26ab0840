"""Names made to be more than names: they are refused or kept as they are, and nothing else happens."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.serve.cluster import in_process, rooms

HOSTILE = (
    "'; DROP TABLE events; --",
    '" OR "1"="1',
    "$(touch pwned)",
    "`touch pwned`",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a\x00b",
    "%s%n{0}{self}",
    "a;b|c&d>e",
    "\u202eevil\ufeff",
    "a" * 5000,
)
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the server runs: nothing may come to be there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_a_name_or_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with rooms() as found, in_process(found.door) as http:
        head = found.log.head
        text = quote(name, safe="")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        answers = [
            await http.post(MAPS, json=body),
            await http.get(f"{MAPS}/{text}"),
            await http.delete(f"{MAPS}/{text}"),
            await http.get(f"/api/v1/namespaces/{text}/pods"),
            await http.get(f"/apis/{text}/v1/{text}"),
            await http.get(f"{MAPS}?labelSelector={text}"),
            await http.get(f"{MAPS}?fieldSelector=metadata.name%3D{text}"),
            await http.get(f"{MAPS}?continue={text}"),
            await http.get(f"{MAPS}?resourceVersion={text}"),
        ]
        assert [one.status_code for one in answers if one.status_code >= 500] == []
        assert answers[0].status_code == 422 and found.log.head == head
        # As a value it is kept to the letter, and comes back so.
        kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": name}}
        assert (await http.post(MAPS, json=kept, headers={"user-agent": "x"})).status_code == 201
        assert (await http.get(f"{MAPS}/a")).json()["data"]["key"] == name
        event = (await found.log.read(head, 10))[0]
        assert event.document["data"] == {"key": name}
