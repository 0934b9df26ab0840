"""Laws of undo: taken back, a change leaves what was before it; undoing the undo is the present."""

from typing import Any

from hypothesis import assume, example, given, settings

from ksql.base.documents import canonical
from ksql.history import inverse
from tests.properties.test_history import DOCUMENTS, _sorted


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=150, deadline=None)
def test_a_change_taken_back_at_once_leaves_what_was_before_it(before: Any, after: Any) -> None:
    found = inverse.inverted(before, after, after)
    assert not found.clashes
    assert canonical(_sorted(inverse.bare(found.document))) == canonical(_sorted(inverse.bare(before)))


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
@settings(max_examples=150, deadline=None)
def test_undoing_an_undo_is_the_present(before: Any, after: Any, present: Any) -> None:
    found = inverse.inverted(before, after, present)
    again = inverse.inverted(present, found.document, found.document)
    assert not again.clashes
    assert canonical(_sorted(inverse.bare(again.document))) == canonical(_sorted(inverse.bare(present)))


@given(DOCUMENTS, DOCUMENTS)
@settings(max_examples=80, deadline=None)
@example({"data": {"a": "1"}}, {"data": {"a": "2"}})
def test_what_an_undo_leaves_alone_is_what_others_have(before: Any, after: Any) -> None:
    assume("other" not in after and "other" not in before)
    present = {**after, "other": {"kept": [1, 2]}}
    found = inverse.inverted(before, after, present)
    assert found.document["other"] == {"kept": [1, 2]}
    assert not found.clashes
