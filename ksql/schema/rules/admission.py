"""Rules of admission: webhooks and policies, and which requests they are asked about."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ksql.base.documents import Document
from ksql.schema import names
from ksql.schema.cel import expressions
from ksql.schema.errors import Cause
from ksql.schema.faults import duplicate, required, too_many, unsupported, wrong
from ksql.schema.golang import urls
from ksql.schema.rules.checks import PORT_MAX, PORT_RANGE, choice, each, one_of, selector
from ksql.schema.rules.conditions import check_general

Structure = Mapping[str, Any]

CONDITIONS_MAX = 64
# A variable may be of any type.
ANY = ("BOOL", "BYTES", "DOUBLE", "DURATION", "INT", "LIST", "MAP", "NULL", "STRING", "TIMESTAMP", "UINT")
ANNOTATIONS_MAX = 20
ANNOTATION_EXPRESSION_BYTES_MAX = 5 * 1024

_POLICIES, _MATCHES = ("Fail", "Ignore"), ("Equivalent", "Exact")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_REVIEWS = ("v1", "v1beta1")
_HARMLESS = ("None", "NoneOnDryRun")
_SCOPES = ("*", "Cluster", "Namespaced")
_REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
_ACTIONS = ("Audit", "Deny", "Warn")

# --- webhooks --------------------------------------------------------------------------------------


def check_webhooks(document: Document, out: list[Cause]) -> None:
    taken: set[str] = set()
    for hook, path in each(document.get("webhooks"), "webhooks"):
        _check_hook(hook, path, document.get("kind") == "MutatingWebhookConfiguration", out)
        _check_reviews(hook.get("admissionReviewVersions") or (), f"{path}.admissionReviewVersions", out)
        name = hook.get("name", "")
        if name and name in taken:
            out.append(duplicate(f"{path}.name", name))
        taken.add(name)


def _check_hook(hook: Structure, path: str, mutates: bool, out: list[Cause]) -> None:
    _check_full_name(hook.get("name", ""), f"{path}.name", out)
    for rule, place in each(hook.get("rules"), f"{path}.rules"):
        _check_rule(rule, place, out)
    choice(hook, path, "failurePolicy", _POLICIES, out)
    choice(hook, path, "matchPolicy", _MATCHES, out)
    if "sideEffects" not in hook:
        out.append(required(f"{path}.sideEffects", f"must specify one of {', '.join(_HARMLESS)}"))
    choice(hook, path, "sideEffects", _HARMLESS, out)
    seconds = hook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        words = "the timeout value must be between 1 and 30 seconds"
        out.append(wrong(f"{path}.timeoutSeconds", seconds, words))
    for field in ("namespaceSelector", "objectSelector"):
        if hook.get(field) is not None:
            selector(hook[field], f"{path}.{field}", out)
    if mutates:
        choice(hook, path, "reinvocationPolicy", ("IfNeeded", "Never"), out)
    _check_client(hook.get("clientConfig") or {}, f"{path}.clientConfig", out)
    _check_conditions(hook.get("matchConditions") or (), expressions.declared(), f"{path}.matchConditions", out)


def _check_full_name(name: str, path: str, out: list[Cause]) -> None:
    if not name:
        out.append(required(path))
    elif complaints := names.subdomain(name):
        out.append(wrong(path, name, ",".join(complaints)))
    elif name.count(".") < 2:
        words = "should be a domain with at least three segments separated by dots"
        out.append(wrong(path, name, words))


def _check_reviews(versions: Sequence[str], path: str, out: list[Cause]) -> None:
    if not versions:
        out.append(required(path, f"must specify one of {', '.join(_REVIEWS)}"))
        return
    seen: set[str] = set()
    for version, place in each(versions, path):
        if version in seen:
            out.append(wrong(place, version, "duplicate version"))
            continue
        seen.add(version)
        out += [wrong(place, version, text) for text in names.label_name_1035(version)]
    if not seen & set(_REVIEWS):
        out.append(wrong(path, versions, f"must include at least one of {', '.join(_REVIEWS)}"))


def _check_client(client: Structure, path: str, out: list[Cause]) -> None:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        out.append(required(path, "exactly one of url or service is required"))
    elif url is not None:
        check_url(url, f"{path}.url", out)
    elif service is not None:
        check_service(service, f"{path}.service", out)


def check_url(url: str, path: str, out: list[Cause]) -> None:
    """Where a webhook is reached: https, a host, and nothing that is not told to it."""
    form = "; desired format: https://host[/path]"
    if error := urls.fault(url):
        out.append(required(path, f"url must be a valid URL: {error}{form}"))
        return
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme != "https":
        out.append(wrong(path, parts.scheme, f"'https' is the only allowed URL scheme{form}"))
    if not host:
        out.append(wrong(path, "", f"host must be specified{form}"))
    if "@" in parts.netloc:
        user = parts.netloc.rpartition("@")[0]
        out.append(wrong(path, user, "user information is not permitted in the URL"))
    if parts.fragment:
        out.append(wrong(path, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        out.append(wrong(path, parts.query, "query parameters are not permitted in the URL"))


def check_service(service: Structure, path: str, out: list[Cause]) -> None:
    """The Service in front of a webhook."""
    # kube-apiserver hands over the two names the wrong way round, so each is missed under the other.
    if not service.get("namespace"):
        out.append(required(f"{path}.name"))
    if not service.get("name"):
        out.append(required(f"{path}.namespace"))
    number = service.get("port", 0)
    if not 1 <= number <= PORT_MAX:
        out.append(wrong(f"{path}.port", number, f"port is not valid: {PORT_RANGE}"))
    where = service.get("path")
    if where in (None, "", "/"):
        return
    if where == "//":
        out.append(wrong(f"{path}.path", where, "segment[0] may not be empty"))
        return
    if not where.startswith("/"):
        out.append(wrong(f"{path}.path", where, "must start with a '/'"))
    # Go cuts off a byte, not a character.
    below = where.encode()[1:].decode("utf-8", "replace").removesuffix("/")
    for index, step in enumerate(below.split("/")):
        if not step:
            out.append(wrong(f"{path}.path", where, f"segment[{index}] may not be empty"))
        for text in names.subdomain(step) if step else ():
            out.append(wrong(f"{path}.path", where, f"segment[{index}]: {text}"))


# --- which requests --------------------------------------------------------------------------------


def _check_rule(rule: Structure, path: str, out: list[Cause]) -> None:
    operations = rule.get("operations") or ()
    if not operations:
        out.append(required(f"{path}.operations"))
    _check_lonely(operations, f"{path}.operations", "operations", out)
    for operation, place in each(operations, f"{path}.operations"):
        if operation not in _OPERATIONS:
            out.append(unsupported(place, operation, _OPERATIONS))
    for field, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = rule.get(field) or ()
        if not values:
            out.append(required(f"{path}.{field}"))
        _check_lonely(values, f"{path}.{field}", what, out)
    versions = each(rule.get("apiVersions"), f"{path}.apiVersions")
    out += [required(place) for version, place in versions if not version]
    _check_resources(rule.get("resources") or (), f"{path}.resources", out)
    choice(rule, path, "scope", _SCOPES, out)


def _check_lonely(values: Sequence[str], path: str, what: str, out: list[Cause]) -> None:
    """A star stands for all and so stands alone."""
    if len(values) > 1 and "*" in values:
        out.append(wrong(path, values, f"if '*' is present, must not specify other {what}"))


def _check_resources(resources: Sequence[str], path: str, out: list[Cause]) -> None:
    if not resources:
        out.append(required(path))
    whole: set[str] = set()  # x in x/*
    parts: set[str] = set()  # x in */x
    plain = False
    for text, place in each(resources, path):
        if not text:
            out.append(required(place))
            continue
        resource, slash, sub = text.partition("/")
        if not slash:
            plain = text != "*"
            continue
        if resource in whole:
            words = f"if '{resource}/*' is present, must not specify {text}"
            out.append(wrong(place, text, words))
        if sub in parts:
            out.append(wrong(place, text, f"if '*/{sub}' is present, must not specify {text}"))
        if sub == "*":
            whole.add(resource)
        if resource == "*":
            parts.add(sub)
    if len(resources) > 1 and "*/*" in resources:
        out.append(wrong(path, resources, "if '*/*' is present, must not specify other resources"))
    if "*" in resources and plain:
        words = "if '*' is present, must not specify other resources without subresources"
        out.append(wrong(path, resources, words))


def _check_conditions(
    conditions: Sequence[Structure], known: expressions.Declared, path: str, out: list[Cause]
) -> None:
    taken: set[str] = set()
    if len(conditions) > CONDITIONS_MAX:
        out.append(too_many(path, len(conditions), CONDITIONS_MAX))
    for condition, place in each(conditions, path):
        name = condition.get("name", "")
        expression = condition.get("expression", "").strip()
        if not expression:
            out.append(required(f"{place}.expression"))
        else:
            expressions.check(expression, f"{place}.expression", known, out)
        if not name:
            out.append(required(f"{place}.name"))
        else:
            out += [wrong(f"{place}.name", name, text) for text in names.qualified(name)]
            if name in taken:
                out.append(duplicate(f"{place}.name", name))
            taken.add(name)


# --- policies --------------------------------------------------------------------------------------

_IDENTIFIER = re.compile("[_a-zA-Z][_a-zA-Z0-9]*")
# fmt: off
_RESERVED = frozenset((
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
    "let", "loop", "package", "namespace", "return", "var", "void", "while",
))
# fmt: on


def check_validating_policy(document: Document, out: list[Cause]) -> None:
    spec, path = document.get("spec") or {}, "spec"
    _check_policy(spec, out)
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        words = "validations or auditAnnotations must contain at least one item"
        out += [required("spec.validations", words), required("spec.auditAnnotations", words)]
        return
    known = _declared(spec)
    for validation, place in each(validations, f"{path}.validations"):
        _check_validation(validation, known, place, out)
    if len(annotations) > ANNOTATIONS_MAX:
        words = f"must not have more than {ANNOTATIONS_MAX} auditAnnotations"
        out.append(wrong(f"{path}.auditAnnotations", annotations, words))
    name = (document.get("metadata") or {}).get("name", "")
    taken: set[str] = set()
    for annotation, place in each(annotations, f"{path}.auditAnnotations"):
        _check_annotation(annotation, name, known, place, out)
        key = annotation.get("key", "")
        if key in taken:
            out.append(duplicate(f"{place}.key", key))
        taken.add(key)


def check_policy_status(document: Document, _old: Document, out: list[Cause]) -> None:
    """What was found of a policy's types, and its conditions."""
    status = document.get("status") or {}
    warnings = (status.get("typeChecking") or {}).get("expressionWarnings")
    for warning, place in each(warnings, "status.typeChecking.expressionWarnings"):
        if not warning.get("warning"):
            out.append(required(f"{place}.warning"))
        if not (warning.get("fieldRef") or "").strip():
            out.append(required(f"{place}.fieldRef"))
    check_general(status.get("conditions") or (), "status.conditions", out)


def _check_policy(spec: Structure, out: list[Cause]) -> None:
    """What both kinds of policy begin with."""
    choice(spec, "spec", "failurePolicy", _POLICIES, out)
    if "paramKind" in spec:
        _check_param_kind(spec["paramKind"], "spec.paramKind", out)
    constraints = spec.get("matchConstraints")
    if constraints is None:
        out.append(required("spec.matchConstraints"))
    else:
        _check_match(constraints, "spec.matchConstraints", out)
        if not constraints.get("resourceRules"):
            out.append(required("spec.matchConstraints.resourceRules"))
        if "mutations" in spec:
            _check_mutable(constraints.get("resourceRules") or (), out)
    has_params = "paramKind" in spec
    known = expressions.declared(has_params)
    _check_conditions(spec.get("matchConditions") or (), known, "spec.matchConditions", out)
    earlier: list[str] = []
    for variable, place in each(spec.get("variables"), "spec.variables"):
        name = variable.get("name", "")
        if not name.strip():
            out.append(required(f"{place}.name", "name is not specified"))
        elif not _IDENTIFIER.fullmatch(name) or name in _RESERVED:
            out.append(wrong(f"{place}.name", name, "must be a valid CEL identifier"))
        expression = variable.get("expression", "")
        if not expression.strip():
            out.append(required(f"{place}.expression", "expression is not specified"))
        else:
            known = expressions.declared(has_params, tuple(earlier))
            expressions.check(expression, f"{place}.expression", known, out, ANY)
        if _IDENTIFIER.fullmatch(name):
            earlier.append(name)


def _declared(spec: Structure) -> expressions.Declared:
    """What the rules of a policy may speak of: all its variables too, where it has any."""
    variables = spec.get("variables") or ()
    known = [
        one["name"]
        for one in variables
        if _IDENTIFIER.fullmatch(one.get("name", "")) and one.get("expression", "").strip()
    ]
    return expressions.declared("paramKind" in spec, known if variables else None)


def _check_mutable(rules: Sequence[Structure], out: list[Cause]) -> None:
    """There is nothing to change about what goes."""
    choices, path = [one for one in _OPERATIONS if one != "DELETE"], "spec.matchConstraints.resourceRules.operations"
    for rule in rules:
        for operation in rule.get("operations") or ():
            if operation not in choices:
                out.append(unsupported(path, operation, choices))


def _check_param_kind(kind: Structure, path: str, out: list[Cause]) -> None:
    given, place = kind.get("apiVersion", ""), f"{path}.apiVersion"
    if not given:
        out.append(required(place))
    elif given.count("/") > 1:
        out.append(wrong(place, given, f"unexpected GroupVersion string: {given}"))
    else:
        group, _, version = ("", "", "") if given == "/" else given.rpartition("/")
        if group and (complaints := names.subdomain(group)):
            out.append(wrong(place, group, ",".join(complaints)))
        if not version:
            out.append(wrong(place, given, "version must be specified"))
        elif complaints := names.label_name_1035(version):
            out.append(wrong(place, version, ",".join(complaints)))
    name = kind.get("kind", "")
    if not name:
        out.append(required(f"{path}.kind"))
    elif complaints := names.label_name_1035(name.lower()):
        words = f"may have mixed case, but should otherwise match: {','.join(complaints)}"
        out.append(wrong(f"{path}.kind", name, words))


def _check_match(match: Structure, path: str, out: list[Cause]) -> None:
    choice(match, path, "matchPolicy", _MATCHES, out)
    for field in ("namespaceSelector", "objectSelector"):
        if field in match:
            selector(match[field], f"{path}.{field}", out)
    for field in ("resourceRules", "excludeResourceRules"):
        for rule, place in each(match.get(field), f"{path}.{field}"):
            taken: set[str] = set()
            for name, where in each(rule.get("resourceNames"), f"{place}.resourceNames"):
                out += [wrong(where, name, text) for text in names.path_segment(name)]
                if name in taken:
                    out.append(duplicate(where, name))
                taken.add(name)
            _check_rule(rule, place, out)


def _check_validation(
    validation: Structure, known: expressions.Declared, path: str, out: list[Cause]
) -> None:
    expression = validation.get("expression", "")
    if not expression.strip():
        out.append(required(f"{path}.expression", "expression is not specified"))
    else:
        expressions.check(expression, f"{path}.expression", known, out)
    said, message = validation.get("messageExpression", ""), validation.get("message", "")
    if said and not said.strip():
        out.append(wrong(f"{path}.messageExpression", said, "must be non-empty if specified"))
    elif said:
        expressions.check(said, f"{path}.messageExpression", known, out, ("STRING",))
    if message and not message.strip():
        out.append(wrong(f"{path}.message", message, "must be non-empty if specified"))
    elif re.search("[\n\r]", message.strip()):
        out.append(wrong(f"{path}.message", message, "must not contain line breaks"))
    choice(validation, path, "reason", _REASONS, out)


def _check_annotation(
    annotation: Structure, name: str, known: expressions.Declared, path: str, out: list[Cause]
) -> None:
    key = f"{name}/{annotation.get('key', '')}"
    if not name:
        out.append(wrong(f"{path}.key", annotation.get("key", ""), "requires metadata.name be non-empty"))
    else:
        out += [wrong(f"{path}.key", key, text) for text in names.qualified(key)]
    expression = annotation.get("valueExpression", "").strip()
    if not expression:
        out.append(required(f"{path}.valueExpression", "valueExpression is not specified"))
    elif len(expression.encode()) > ANNOTATION_EXPRESSION_BYTES_MAX:
        words = f"must not exceed {ANNOTATION_EXPRESSION_BYTES_MAX} bytes in length"
        out.append(required(f"{path}.valueExpression", words))
    else:
        expressions.check(expression, f"{path}.valueExpression", known, out, ("STRING", "NULL"))


def check_mutating_policy(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    _check_policy(spec, out)
    if not spec.get("mutations"):
        out.append(required("spec.mutations", "mutations must contain at least one item"))
    for mutation, path in each(spec.get("mutations"), "spec.mutations"):
        _check_mutation(mutation, path, out)
    one_of(spec, "spec", "reinvocationPolicy", ("IfNeeded", "Never"), out, needed=True)


_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def _check_mutation(mutation: Structure, path: str, out: list[Cause]) -> None:
    kind = mutation.get("patchType", "")
    if kind not in _PATCHES:
        one_of(mutation, path, "patchType", tuple(_PATCHES), out, needed=True)
        return
    field = _PATCHES[kind]
    if field not in mutation:
        out.append(required(f"{path}.{field}", f"must be specified when patchType is {kind}"))
    elif not (mutation[field].get("expression") or "").strip():
        out.append(required(f"{path}.{field}.expression", "expression is not specified"))
    for other in _PATCHES.values():
        if other != field and other in mutation:
            words = f"must not be specified when patchType is {kind}"
            out.append(wrong(f"{path}.{other}", f"{{{other}}}", words))


def check_policy_binding(document: Document, out: list[Cause]) -> None:
    spec = document.get("spec") or {}
    name = spec.get("policyName", "")
    if not name:
        out.append(required("spec.policyName"))
    else:
        out += [wrong("spec.policyName", name, text) for text in names.subdomain(name)]
    if "paramRef" in spec:
        _check_param_ref(spec["paramRef"], "spec.paramRef", out)
    if "matchResources" in spec:
        _check_match(spec["matchResources"], "spec.matchResources", out)
    if document.get("kind") == "ValidatingAdmissionPolicyBinding":
        _check_actions(spec.get("validationActions") or (), "spec.validationActions", out)


def _check_param_ref(ref: Structure, path: str, out: list[Cause]) -> None:
    name = ref.get("name", "")
    if name:
        out += [wrong(f"{path}.name", name, text) for text in names.path_segment(name)]
        if "selector" in ref:
            out.append(_forbidden_pair(f"{path}.name"))
    if "selector" in ref:
        selector(ref["selector"], f"{path}.selector", out)
        if name:
            out.append(_forbidden_pair(f"{path}.selector"))
    elif not name:
        out.append(required(path, "one of name or selector must be specified"))
    action, place = ref.get("parameterNotFoundAction"), f"{path}.parameterNotFoundAction"
    if not action:
        out.append(required(place))
    elif action not in ("Allow", "Deny"):
        out.append(unsupported(place, action, ("Deny", "Allow")))


def _forbidden_pair(path: str) -> Cause:
    return Cause("FieldValueForbidden", "Forbidden: name and selector are mutually exclusive", path)


def _check_actions(actions: Sequence[str], path: str, out: list[Cause]) -> None:
    taken: set[str] = set()
    for action, place in each(actions, path):
        if action not in _ACTIONS:
            out.append(unsupported(place, action, _ACTIONS))
        if action in taken:
            out.append(duplicate(place, action))
        taken.add(action)
    if {"Deny", "Warn"} <= taken:
        words = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API "
            "response and headers serves no purpose)"
        )
        out.append(wrong(path, actions, words))
    if not taken:
        out.append(required(path, "at least one validation action is required"))
