"""Selectors: query syntax, LabelSelector documents, fields of kinds, and kube-apiserver's words."""

# Tables of cases read best with a case on a line, however long.
# ruff: noqa: E501

from typing import Any

import pytest

from ksql.schema import selectors
from ksql.schema.errors import BadRequestError
from ksql.schema.resources import ResourceType


def kind(kind: str, group: str = "", version: str = "v1") -> ResourceType:
    return ResourceType(group, version, kind.lower() + "s", kind.lower(), kind, True, ("list",))


LABELS = {"app": "web", "tier": "front", "empty": "", "size": "10", "in": "in", "k8s.io/x": "y"}


@pytest.mark.parametrize(
    "text",
    [
        "", "app=web", "app==web", "app = web", "app", "!none", "! none", "app!=db", "none!=x", "app in (web,db)",
        "app in(web)", "app notin (db)", "none notin (x)", "empty=", "empty==", "empty", "empty in ()", "empty in (,x)",
        "app=web,tier=front,!none", " app = web , tier ", "size>9", "size<11", "in=in", "in in (in)", "in notin (notin)",
        "k8s.io/x=y", "app in (web,)", "app in (,,web)", "none!=",
    ],
)  # fmt: skip
def test_a_selector_matches(text: str) -> None:
    assert selectors.parse_labels(text).matches(LABELS)


@pytest.mark.parametrize(
    "text",
    [
        "app=db", "none", "!app", "app!=web", "app in (db)", "none in (x)", "app notin (web)", "none=", "size>10", "size<10",
        "app>1", "none>1", "app=web,tier=back", "empty!=", "app in ()",
    ],
)  # fmt: skip
def test_a_selector_does_not_match(text: str) -> None:
    assert not selectors.parse_labels(text).matches(LABELS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a gt 5", "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a,,b", "found ',', expected: identifier after ','"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"),
        ("a in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (b,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a>x", "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"),
        (
            "a-=b",
            "unable to parse requirement: <nil>: Invalid value: \"a-\": name part must consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
            "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a=-",
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or consist of "
            "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  "
            "or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        ("x" * 64, "unable to parse requirement: <nil>: Invalid value: \"" + "x" * 64 + "\": name part must be no more than 63 bytes"),
    ],
)  # fmt: skip
def test_a_malformed_selector_is_refused_in_the_words_of_kubernetes(text: str, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        selectors.parse_labels(text)
    assert caught.value.message == words


@pytest.mark.parametrize(
    ("text", "printed"),
    [("b = c , a", "a,b=c"), ("a notin (z,y)", "a notin (y,z)"), ("!a", "!a"), ("a==b", "a==b"), ("a>3", "a>3")],
)
def test_a_selector_prints_in_the_order_of_its_keys(text: str, printed: str) -> None:
    assert str(selectors.parse_labels(text)) == printed


def test_null_selects_nothing_and_an_empty_document_everything() -> None:
    assert not selectors.from_document(None).matches({})
    assert not selectors.from_document(None).empty
    assert selectors.from_document({}).matches(None)
    assert selectors.from_document({}).empty
    assert selectors.from_document({"matchLabels": {}, "matchExpressions": []}).empty


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "app", "operator": "In", "values": ["web", "db"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["web"]}, False),
        ({"key": "none", "operator": "NotIn", "values": ["web"]}, True),
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "none", "operator": "Exists"}, False),
        ({"key": "none", "operator": "DoesNotExist"}, True),
    ],
)
def test_the_expressions_of_a_document_are_all_asked(expression: dict[str, Any], matches: bool) -> None:
    assert selectors.from_document({"matchExpressions": [expression]}).matches(LABELS) is matches
    both = {"matchLabels": {"tier": "back"}, "matchExpressions": [expression]}
    assert not selectors.from_document(both).matches(LABELS)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}, '"Gt" is not a valid label selector operator'),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "values set can't be empty"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}, "values set must be empty"),
        ({"matchLabels": {"a b": "c"}}, 'key: Invalid value: "a b"'),
        ({"matchLabels": [1]}, "not of the form"),
        ({"matchExpressions": [1]}, "not of the form"),
    ],
)  # fmt: skip
def test_a_selector_document_that_means_nothing_is_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        selectors.from_document(document)
    assert words in caught.value.message


def test_an_index_can_ask_for_the_exact_labels() -> None:
    assert selectors.parse_labels("a=b,c in (d),e in (f,g),h").exact == {"a": "b", "c": "d"}
    assert selectors.from_labels({"a": "b"}).matches({"a": "b"})
    assert selectors.from_labels(None).empty


@pytest.mark.parametrize(
    ("kind_name", "group", "document", "text"),
    [
        ("ConfigMap", "", {"metadata": {"name": "a", "namespace": "b"}}, "metadata.name=a,metadata.namespace==b"),
        ("Pod", "", {"spec": {"nodeName": "n1"}, "status": {"phase": "Running"}}, "spec.nodeName=n1,status.phase!=Failed"),
        ("Pod", "", {"spec": {}}, "spec.nodeName=,spec.hostNetwork=false,spec.restartPolicy=Always"),
        ("Pod", "", {"spec": {"hostNetwork": True}}, "spec.hostNetwork=true"),
        ("Pod", "", {"status": {"podIPs": [{"ip": "10.0.0.1"}]}}, "status.podIP=10.0.0.1"),
        ("Pod", "", {"spec": {"nodeName": "n1"}}, "spec.host=n1"),
        ("Node", "", {"spec": {}}, "spec.unschedulable=false"),
        ("Node", "", {}, "spec.unschedulable=false"),
        ("Event", "", {"involvedObject": {"kind": "Pod", "name": "x"}}, "involvedObject.kind=Pod,involvedObject.name=x"),
        ("Event", "", {"source": {"component": "kubelet"}}, "source=kubelet"),
        ("Event", "", {"reportingComponent": "kubelet"}, "source=kubelet,reportingComponent=kubelet"),
        ("Event", "events.k8s.io", {"regarding": {"name": "x"}, "reportingController": "k"}, "regarding.name=x,reportingController=k"),
        ("Secret", "", {"type": "kubernetes.io/tls"}, "type=kubernetes.io/tls"),
        ("Namespace", "", {"status": {"phase": "Active"}}, "status.phase=Active"),
        ("Job", "batch", {"status": {}}, "status.successful=0"),
        ("CertificateSigningRequest", "certificates.k8s.io", {"spec": {"signerName": "a/b"}}, "spec.signerName=a/b"),
        ("ConfigMap", "", {"metadata": {"name": "a,b=c\\d"}}, r"metadata.name=a\,b\=c\\d"),
        ("ConfigMap", "", {"metadata": {"name": "a"}}, ",metadata.name=a,"),
    ],
)  # fmt: skip
def test_fields_match_with_the_defaults_of_their_kind(kind_name: str, group: str, document: Any, text: str) -> None:
    assert selectors.parse_fields(kind(kind_name, group), text).matches(document)


@pytest.mark.parametrize(
    ("kind_name", "group", "text", "words"),
    [
        ("ConfigMap", "", "spec.foo=1", '"spec.foo" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("Deployment", "apps", "status.phase=1", '"status.phase" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("Pod", "", "spec.foo=1", "field label not supported: spec.foo"),
        ("Node", "", "metadata.namespace=x", "field label not supported: metadata.namespace"),
        ("Event", "events.k8s.io", "involvedObject.name=x", "field label not supported: involvedObject.name"),
        ("ReplicaSet", "apps", "status.replicas=3", '"status.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("Job", "batch", "spec.foo=1", 'field label "spec.foo" not supported for Job'),
        ("ResourceSlice", "resource.k8s.io", "x=1", "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: x"),
        ("Pod", "", "spec.nodeName", "invalid selector: 'spec.nodeName'; can't understand 'spec.nodeName'"),
        ("Pod", "", "spec.nodeName=a=b", "invalid field selector: unescaped character in value: 61"),
        ("Pod", "", r"spec.nodeName=a\b", r"invalid field selector: invalid escape sequence: \b"),
        ("Pod", "", "spec.nodeName=a\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_asked_is_refused(kind_name: str, group: str, text: str, words: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        selectors.parse_fields(kind(kind_name, group), text)
    assert caught.value.message == words


def test_a_field_selector_tells_its_exact_terms_and_prints() -> None:
    selector = selectors.parse_fields(kind("Pod"), "status.phase!=Failed,spec.nodeName=n1,metadata.name==x")
    assert selector.exact == {"metadata.name": "x", "spec.nodeName": "n1"}
    assert str(selector) == "metadata.name=x,spec.nodeName=n1,status.phase!=Failed"
    assert selectors.parse_fields(kind("Pod"), "").empty


def test_a_number_of_many_digits_is_refused_like_any_other_text() -> None:
    with pytest.raises(BadRequestError, match="the value must be an integer"):
        selectors.parse_labels("a>" + "9" * 5000)
    assert not selectors.parse_labels("a>5").matches({"a": "9" * 5000})


def test_a_long_selector_works_as_a_short_one() -> None:
    wanted = ",".join(f"v{number}" for number in range(1000))
    assert selectors.parse_labels(f"a in ({wanted})").matches({"a": "v999"})
    document = {"matchExpressions": [{"key": "a", "operator": "In", "values": wanted.split(",")}]}
    assert selectors.from_document(document).matches({"a": "v0"})
    terms = ",".join(f"metadata.name!=v{number}" for number in range(1000))
    assert not selectors.parse_fields(kind("Pod"), terms).matches({"metadata": {"name": "v7"}})


def test_a_selector_longer_than_any_url_is_refused() -> None:
    with pytest.raises(BadRequestError):
        selectors.parse_labels("a," * selectors.SELECTOR_CHARACTERS_MAX)
