"""Entries and frames: bytes made once, documents parsed when wanted, other forms for selectors."""

import pytest

from ksql.base.documents import decode
from ksql.log.event import Change
from ksql.state.entry import Entry, Frame, bookmark
from tests.state.events import event


@pytest.mark.parametrize("parsed", [True, False])
def test_body_and_document_say_the_same_with_the_revision_in_it(parsed: bool) -> None:
    entry = Entry(event(7, "a", parsed=parsed, data={"x": "1"}))
    assert entry.document["metadata"]["resourceVersion"] == "7"
    assert decode(entry.body) == entry.document
    assert entry.document is entry.document and entry.body is entry.body


@pytest.mark.parametrize("parsed", [True, False])
@pytest.mark.parametrize("body_first", [True, False])
def test_a_forgotten_document_can_be_had_again(parsed: bool, body_first: bool) -> None:
    entry = Entry(event(7, "a", parsed=parsed, data={"x": "1"}))
    if body_first:
        assert entry.body
    before = entry.document
    entry.forget()
    assert entry.document == before and decode(entry.body) == before


def test_an_entry_of_another_form_keeps_it() -> None:
    document = {"apiVersion": "v2", "kind": "A", "metadata": {"resourceVersion": "7"}}
    entry = Entry.of(event(7, "a").stream, 7, document)
    entry.forget()
    assert entry.document is document
    assert decode(entry.body) == document


def test_the_log_s_own_document_is_not_changed_by_the_revision() -> None:
    written = event(7, "a")
    assert Entry(written).document["metadata"]["resourceVersion"] == "7"
    assert "resourceVersion" not in written.document["metadata"]


def test_a_line_holds_the_body() -> None:
    entry = Entry(event(7, "a"))
    frame = Frame(7, Change.ADDED, entry)
    assert frame.line == b'{"type":"ADDED","object":' + entry.body + b"}\n"
    assert frame.line is frame.line


def test_what_leaves_a_selection_goes_as_it_was_at_the_revision_of_its_going() -> None:
    before, after = Entry(event(7, "a", data={"x": "1"})), Entry(event(9, "a", data={"x": "2"}))
    left = Frame(9, Change.MODIFIED, after, before).left()
    assert left.change is Change.DELETED and left.revision == 9 and left.entry is not None
    assert left.entry.document["data"] == {"x": "1"}
    assert left.entry.document["metadata"]["resourceVersion"] == "9"
    assert before.document["metadata"]["resourceVersion"] == "7"


def test_what_meets_a_selection_is_added_as_it_is() -> None:
    before, after = Entry(event(7, "a")), Entry(event(9, "a"))
    frame = Frame(9, Change.MODIFIED, after, before)
    assert frame.met().change is Change.ADDED and frame.met().entry is after
    assert frame.met() is frame.met() and frame.left() is frame.left()


def test_a_bookmark_is_an_empty_object_of_the_watched_kind() -> None:
    assert bookmark("apps/v1", "Deployment", Frame(9, None, None)) == (
        b'{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1",'
        b'"metadata":{"resourceVersion":"9","creationTimestamp":null}}}\n'
    )
