"""What a decision sees: the folded state and, over it, what its own transaction has drafted."""

import datetime

from ksql.base.clock import SystemClock
from ksql.log.event import Change, from_draft
from ksql.state.objects import Objects
from ksql.verbs.view import Rehearsal, View
from tests.log.drafts import draft, stream

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_one_deleted_and_made_anew_in_the_same_transaction_is_listed_once() -> None:
    objects = Objects(SystemClock())
    objects.fold([from_draft(draft(stream("a", uid="old")), 1, NOW), from_draft(draft("b"), 2, NOW)])
    made = draft(stream("a", uid="new"), Change.ADDED)
    view = View(objects, Rehearsal(3, NOW, {("configmaps", "default", "a"): made}))
    uids = [document["metadata"]["uid"] for document in view.list("configmaps", "default")]
    assert uids == [stream("b").uid, "new"]
