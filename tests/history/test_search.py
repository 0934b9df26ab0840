"""The filter grammar: what texts mean, and what is said of those that mean nothing."""

import pytest

from ksql.history.search import KEYS, QUERY_CHARACTERS_MAX, SearchError, Term, parse


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", ()),
        ("  ", ()),
        ("kind:Pod", (Term("kind", ("Pod",)),)),
        ("kind:Pod,deploy  ns:shop", (Term("kind", ("Pod", "deploy")), Term("ns", ("shop",)))),
        ("kind:Pod kind:Node", (Term("kind", ("Pod", "Node")),)),
        ("-actor:scheduler", (Term("actor", ("scheduler",), negated=True),)),
        ('actor:"jane doe",bob', (Term("actor", ("jane doe", "bob")),)),
        ('name:"a,b"', (Term("name", ("a,b",)),)),
        ("actor:system:node:node-1", (Term("actor", ("system:node:node-1",)),)),
        ("field:spec.replicas field:spec.paused", (Term("field", ("spec.replicas",)), Term("field", ("spec.paused",)))),
        ("label:app=web,tier!=db", (Term("label", ("app=web,tier!=db",)),)),
        ('since:"yesterday 17:00" until:10:32', (Term("since", ("yesterday 17:00",)), Term("until", ("10:32",)))),
        ("web db", (Term("part", ("web",)), Term("part", ("db",)))),
        ("namespace:shop by:alice", (Term("ns", ("shop",)), Term("actor", ("alice",)))),
        ("cause:r1042 verb:DELETE", (Term("cause", ("1042",)), Term("verb", ("delete",)))),
    ],
)
def test_a_text_means_its_terms(text: str, terms: tuple[Term, ...]) -> None:
    assert parse(text).terms == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knd:Pod", 'there is no filter "knd:"; did you mean kind?'),
        ("zzz:1", f'there is no filter "zzz:"; there are {", ".join(KEYS)}'),
        ("verb:delte", 'verb: there is no "delte"; did you mean delete?'),
        ("verb:frobnicate", 'verb: there is no "frobnicate"; give one of create, update, patch, apply, delete, '
                            "deletecollection"),
        ("is:human", 'is: there is no "human"; give one of person, component, status, wanted'),
        ("kind:", "kind: has no value: write kind:Pod"),
        ("kind:a,", "kind: has no value: write kind:Pod"),
        ("-", '"-" is no filter: write key:value, as in kind:Pod'),
        ('name:"web', 'a filter opens a quotation with " and never closes it'),
        ("since:1h since:2h", "since: is given twice"),
        ("since:1h,2h", "since: takes one value"),
        ("-since:1h", "since: cannot be turned round with -"),
        ("-field:spec", "field: cannot be turned round with -"),
        ("owner:web", 'owner: "web" is not KIND/NAME: write owner:deployment/web'),
        ("cause:soon", 'cause: "soon" is no revision: write cause:r1042'),
        ("uid:1", 'uid: "1" is no uid'),
        ("field:a..b", 'field: "a..b" is no field path: write spec.replicas, spec.containers[web].image or '
                       "metadata.labels[app.kubernetes.io/name]"),
        ("x" * (QUERY_CHARACTERS_MAX + 1), f"a filter has at most {QUERY_CHARACTERS_MAX} characters"),
        ("a " * 51, "a filter has at most 50 terms"),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(SearchError) as refused:
        parse(text)
    assert str(refused.value) == message
