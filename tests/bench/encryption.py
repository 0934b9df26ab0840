"""What encryption adds to the making of an event's bytes, on the writer's thread: `python -m tests.bench encryption`.

Secrets of half a kilobyte are created and changed, 256 to a transaction, with and without a vault. Counted is the
thread's own processor time, so that a loaded machine tells the same as a quiet one, near enough.
"""

import base64
import os
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from ksql.base.clock import SystemClock, new_uid
from ksql.base.documents import encode
from ksql.log import objectkeys, roots, training
from ksql.log.codec import Codec
from ksql.log.event import Actor, Change, Draft, Stream
from ksql.log.pages import Pager
from ksql.log.registry import Registry
from ksql.log.schema import metadata
from ksql.log.transaction import Head, Transaction
from ksql.log.vault import Vault

SECRETS, TOGETHER, ROUNDS = 4_096, 256, 5
ALICE = Actor("alice", ("dev", "system:authenticated"), user_agent="kubectl/v1.35")
MANAGED = {
    "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z",
    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:password": {}, "f:user": {}}, "f:type": {}},
}  # fmt: skip


def drafts(streams: list[Stream], change: Change) -> list[Draft]:
    made = []
    for of in streams:
        values = {"password": base64.b64encode(os.urandom(24)).decode(), "user": "YWRtaW4="}
        names = {"name": of.name, "namespace": of.namespace, "uid": of.uid, "managedFields": [MANAGED]}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": names, "data": values, "type": "Opaque"}
        verb = "create" if change is Change.ADDED else "update"
        made.append(Draft(of, change, verb, ALICE, document, encode(document), field_manager="kubectl"))
    return made


def measure(connection: sa.Connection, vault: Vault | None) -> tuple[float, float, float]:
    """Microseconds of a creation and of a change, and bytes of both together, an event."""
    codec = Codec(lambda _: None)
    codec.use(1, training.typical())
    pager, registry, head, clock = Pager(codec), Registry(), Head(), SystemClock()
    streams = [Stream("secrets", "default", f"secret-{number}", new_uid(clock)) for number in range(SECRETS)]
    seconds, size = [], 0
    for change in (Change.ADDED, Change.MODIFIED):
        made, taken = drafts(streams, change), 0.0
        for start in range(0, SECRETS, TOGETHER):
            transaction = Transaction(head, registry, 1)
            for one in made[start : start + TOGETHER]:
                transaction.take([one])
            began = time.thread_time()
            if vault is not None:
                vault.prepare(lambda: connection, transaction)
            paging = pager.paging(transaction)
            size += sum(len(page) for page in paging.finish() if page is not None)
            if vault is not None and transaction.keyed:
                objectkeys.add(connection, transaction.keyed)
                vault.keep(transaction)
            pager.keep(paging.fresh)
            taken += time.thread_time() - began
            head = transaction.after
            transaction.learned()
        seconds.append(taken / SECRETS * 1e6)
    return seconds[0], seconds[1], size / SECRETS / 2


def main() -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with tempfile.TemporaryDirectory() as folder, engine.connect() as connection:
        metadata.create_all(connection)
        found = roots.establish(Path(folder) / "keys.json")
        best: dict[str, list[float]] = {"plain": [1e9] * 3, "encrypted": [1e9] * 3}
        for _ in range(ROUNDS):
            for name in best:
                vault = None
                if name == "encrypted":
                    vault = Vault(found, lambda _: found[0])
                    vault.open(connection, 1)
                best[name] = list(map(min, best[name], measure(connection, vault)))
                connection.rollback()
        for name, (create, change, size) in best.items():
            print(f"{name:10} create {create:5.1f} µs   change {change:5.1f} µs   {size:4.0f} bytes an event")
        more = [after - before for before, after in zip(best["plain"], best["encrypted"], strict=True)]
        print(f"added      create {more[0]:5.1f} µs   change {more[1]:5.1f} µs   {more[2]:4.0f} bytes an event")


if __name__ == "__main__":
    main()
