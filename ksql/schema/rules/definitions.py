"""Rules of CustomResourceDefinitions: names, versions, columns, subresources, conversion.

Where all versions say the same of a part (the schema, the columns, …), kube-apiserver speaks of it as said
once for all of them: then its place in messages is `spec.validation`, `spec.subresources` and so on. The
rules of schemas themselves stand in `structural.py`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.schema import names
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, unsupported, wrong
from ksql.schema.rules.admission import check_service, check_url
from ksql.schema.rules.approval import ANNOTATION, approval
from ksql.schema.rules.structural import check_schema

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEWS = ("v1", "v1beta1")
DEPRECATION_WARNING_MAX = 256
# As many fields as kube-apiserver keeps ready for selection.
SELECTABLE_MAX = 8


def check_definition(document: Document, out: list[Cause]) -> None:
    """A CRD by itself."""
    spec = document.get("spec") or {}
    named = spec.get("names") or {}
    plural, group = named.get("plural", ""), spec.get("group", "")
    name = (document.get("metadata") or {}).get("name", "")
    if name != f"{plural}.{group}":
        out.append(wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    _group(group, out)
    _scope(spec, out)
    versions = spec.get("versions") or []
    _versions(versions, out)
    _names(named, out)
    if spec.get("preserveUnknownFields"):
        said = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        out.append(wrong("spec.preserveUnknownFields", True, said))
    _conversion(spec.get("conversion") or {}, out)
    for part, path, schema in _parts(versions):
        _columns(part.get("additionalPrinterColumns") or [], f"{path}.additionalPrinterColumns", out)
        _subresources(part.get("subresources") or {}, f"{path}.subresources", out)
        _selectable(part.get("selectableFields") or [], schema, f"{path}.selectableFields", out)
    has_status = any("status" in (version.get("subresources") or {}) for version in versions)
    for whole, path in _schemas(versions):
        if whole is not None and has_status:
            _root_beside_status(whole, path, out)
        check_schema(whole, path, out)
    _stored(document, versions, out)
    _approval(document, out)


def check_change(document: Document, old: Document, out: list[Cause]) -> None:
    """What may not change of a CRD that is served: whose objects they are, and where."""
    conditions = lookup(old, "status", "conditions", default=None) or ()
    if not any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions):
        return
    for path in (("group",), ("names", "kind"), ("scope",), ("names", "plural")):
        before, after = lookup(old, "spec", *path), lookup(document, "spec", *path)
        if before != after:
            out.append(wrong(".".join(("spec", *path)), after, IMMUTABLE))


# --- names -----------------------------------------------------------------------------------------


def _group(group: str, out: list[Cause]) -> None:
    if not group:
        out.append(required("spec.group"))
    elif complaints := names.subdomain(group):
        out += [wrong("spec.group", group, text) for text in complaints]
    elif "." not in group:
        out.append(wrong("spec.group", group, "should be a domain with at least one dot"))


def _scope(spec: Document, out: list[Cause]) -> None:
    scope = spec.get("scope") or ""
    if not scope:
        out.append(required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        out.append(unsupported("spec.scope", scope, ("Cluster", "Namespaced")))


def _names(named: Document, out: list[Cause]) -> None:
    for field in ("plural", "singular", "kind", "listKind"):
        word = named.get(field) or ""
        path = f"spec.names.{field}"
        mixed = field in ("kind", "listKind")
        if not word:
            out.append(required(path))
            continue
        for text in names.label_name_1035(word.lower() if mixed else word):
            said = f"may have mixed case, but should otherwise match: {text}" if mixed else text
            out.append(wrong(path, word, said))
    for field in ("shortNames", "categories"):
        for index, word in enumerate(named.get(field) or ()):
            out += [wrong(f"spec.names.{field}[{index}]", word, text) for text in names.label_name_1035(word)]
    if named.get("kind") and named.get("kind") == named.get("listKind"):
        out.append(wrong("spec.names.listKind", named["listKind"], "kind and listKind may not be the same"))


# --- versions --------------------------------------------------------------------------------------


def _versions(versions: list[Document], out: list[Cause]) -> None:
    stored = sum(1 for version in versions if version.get("storage"))
    told = [version.get("name", "") for version in versions]
    shown = [_shown(version) for version in versions]
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        out += [wrong(f"{path}.name", told[index], text) for text in names.label_name_1035(told[index])]
        if not index:
            out += [wrong("spec.version", told[0], text) for text in names.label_name_1035(told[0])]
        _deprecation(version, path, out)
    if len(set(told)) < len(told):
        out.append(wrong("spec.versions", shown, "must contain unique version names"))
    if stored != 1:
        out.append(wrong("spec.versions", shown, "must have exactly one version marked as storage version"))


def _shown(version: Document) -> Document:
    """A version as messages print it: by its fields in Go."""
    return {
        "Name": version.get("name", ""), "Served": bool(version.get("served")), "Storage": bool(version.get("storage")),
        "Deprecated": bool(version.get("deprecated")), "DeprecationWarning": version.get("deprecationWarning"),
        "Schema": None, "Subresources": None, "AdditionalPrinterColumns": None, "SelectableFields": None,
    }  # fmt: skip


def _deprecation(version: Document, path: str, out: list[Cause]) -> None:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    where = f"{path}.deprecationWarning"
    if not version.get("deprecated"):
        out.append(wrong(where, warning, "can only be set for deprecated versions"))
    if not warning:
        out.append(wrong(where, warning, "must not be an empty string"))
    elif len(warning) > DEPRECATION_WARNING_MAX:
        said = f"must be <= {DEPRECATION_WARNING_MAX} characters long"
        out.append(wrong(where, warning, said))
    for index, letter in enumerate(warning):
        if not letter.isprintable():
            said = "must only contain printable UTF-8 characters; non-printable character found at index"
            out.append(wrong(where, warning, f"{said} {index}"))
            break


_SHARED = ("additionalPrinterColumns", "subresources", "selectableFields")


def _same_everywhere(versions: list[Document], field: str) -> bool:
    return all(version.get(field) == versions[0].get(field) for version in versions)


def _parts(versions: list[Document]) -> Iterator[tuple[Document, str, Document]]:
    """What versions say beside their schemas, each part with its place and with the schema it is about."""
    common = [field for field in _SHARED if versions and _same_everywhere(versions, field)]
    if common:
        first = {field: versions[0].get(field) for field in common}
        yield first, "spec", _schema_of(versions[0])
    for index, version in enumerate(versions):
        own = {field: version.get(field) for field in _SHARED if field not in common}
        yield own, f"spec.versions[{index}]", _schema_of(version)


def _schema_of(version: Document) -> Document:
    found: Document = lookup(version, "schema", "openAPIV3Schema", default=None) or {}
    return found


def _schemas(versions: list[Document]) -> Iterator[tuple[Document | None, str]]:
    """The schemas with their places; None where one is missing."""
    given = [lookup(version, "schema", "openAPIV3Schema") for version in versions]
    if given and given[0] is not None and all(schema == given[0] for schema in given):
        yield given[0], "spec.validation.openAPIV3Schema"
        return
    for index, schema in enumerate(given):
        yield schema, f"spec.versions[{index}].schema.openAPIV3Schema"


# What the root of a schema may say where the status is written by itself: the rest might need to see both.
_ROOT_WORDS = frozenset(
    {
        "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
        "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items",
        "properties", "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
    }
)  # fmt: skip
_ROOT_WORDS_SAID = (
    "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
    "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
    "XValidations] fields are allowed at the root of the schema if the status subresource is enabled"
)


def _root_beside_status(schema: Document, path: str, out: list[Cause]) -> None:
    if any(value not in (None, False, "", [], {}) for word, value in schema.items() if word not in _ROOT_WORDS):
        out.append(wrong(path, schema, _ROOT_WORDS_SAID))


def _columns(columns: list[Document], path: str, out: list[Cause]) -> None:
    for index, column in enumerate(columns):
        where = f"{path}[{index}]"
        if not column.get("name"):
            out.append(required(f"{where}.name"))
        listed = ",".join(_COLUMN_TYPES)
        if not column.get("type"):
            out.append(required(f"{where}.type", f"must be one of {listed}"))
        elif column["type"] not in _COLUMN_TYPES:
            out.append(wrong(f"{where}.type", column["type"], f"must be one of {listed}"))
        form = column.get("format")
        if form and form not in _COLUMN_FORMATS:
            out.append(wrong(f"{where}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
        _path(column.get("jsonPath") or "", f"{where}.JSONPath", out)


def _path(text: str, where: str, out: list[Cause]) -> bool:
    """Whether a path begins as one. kube-apiserver asks no more: a column that cannot be read stays empty."""
    if not text:
        out.append(required(where))
    elif not text.startswith("."):
        out.append(wrong(where, text, "must be a simple json path starting with ."))
    else:
        return True
    return False


def _subresources(subresources: Document, path: str, out: list[Cause]) -> None:
    scale = subresources.get("scale")
    if scale is None:
        return
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        text, where = scale.get(field) or "", f"{path}.scale.{field}"
        if _path(text, where, out) and not text.startswith(root):
            out.append(wrong(where, text, f"should be a json path under {root[:-1]}"))
    selector = scale.get("labelSelectorPath")
    where = f"{path}.scale.labelSelectorPath"
    if selector and _path(selector, where, out) and not selector.startswith((".spec.", ".status.")):
        out.append(wrong(where, selector, "should be a json path under either .spec or .status"))


def _selectable(fields: list[Document], schema: Document, path: str, out: list[Cause]) -> None:
    if len(fields) > SELECTABLE_MAX:
        said = f"Too many: {len(fields)}: must have at most {SELECTABLE_MAX} items"
        out.append(Cause("FieldValueTooMany", said, path))
    seen: list[str] = []
    for index, field in enumerate(fields):
        text, where = field.get("jsonPath") or "", f"{path}[{index}].jsonPath"
        if not text:
            out.append(required(where))
        elif text in seen:
            out.append(duplicate(where, text))
        elif fault := _selectable_fault(text, schema):
            out.append(wrong(where, text, fault))
        seen.append(text)


def _selectable_fault(text: str, schema: Mapping[str, Any]) -> str:
    if not text.startswith("."):
        word = text.split(".", 1)[0]
        return f"is an invalid path: expected [ or . but got: {word}"
    if "[" in text:
        return "is an invalid path: array notation is not allowed"
    found: Any = schema
    for step in text[1:].split("."):
        found = (found.get("properties") or {}).get(step)
        if not isinstance(found, Mapping):
            return "is an invalid path: does not refer to a valid field"
    if text.startswith(".metadata"):
        return "is an invalid path: does not refer to a valid field"
    if found.get("type") not in ("string", "boolean", "integer"):
        return (
            "must point to a field of type string, boolean or integer. "
            "Enum string fields and strings with formats are allowed."
        )
    return ""


# --- conversion ------------------------------------------------------------------------------------


def _conversion(conversion: Document, out: list[Cause]) -> None:
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    path = "spec.conversion"
    if strategy not in ("None", "Webhook"):
        if not strategy:
            out.append(required(f"{path}.strategy"))
        else:
            out.append(unsupported(f"{path}.strategy", strategy, ("None", "Webhook")))
        return
    config, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy == "None":
        said = "should not be set when strategy is not set to Webhook"
        if config is not None:
            out.append(forbidden(f"{path}.webhookClientConfig", said))
        if reviews:
            out.append(forbidden(f"{path}.conversionReviewVersions", said))
        return
    where = f"{path}.webhookClientConfig"
    if config is None:
        out.append(required(where, "required when strategy is set to Webhook"))
    elif (config.get("url") is None) == (config.get("service") is None):
        out.append(required(where, "exactly one of url or service is required"))
    elif config.get("url") is not None:
        check_url(config["url"], f"{where}.url", out)
    else:
        check_service(config["service"], f"{where}.service", out)
    _reviews(reviews, f"{path}.conversionReviewVersions", out)


def _reviews(reviews: list[str], where: str, out: list[Cause]) -> None:
    if not reviews:
        out.append(required(where))
        return
    for index, version in enumerate(reviews):
        if version in reviews[:index]:
            out.append(wrong(f"{where}[{index}]", version, "duplicate version"))
        out += [wrong(f"{where}[{index}]", version, text) for text in names.label_name_1035(version)]
    if not any(version in _REVIEWS for version in reviews):
        out.append(wrong(where, reviews, f"must include at least one of {', '.join(_REVIEWS)}"))


# --- status ----------------------------------------------------------------------------------------


def _stored(document: Document, versions: list[Document], out: list[Cause]) -> None:
    """Every version that objects may be kept in must stay defined."""
    path = "status.storedVersions"
    stored = lookup(document, "status", "storedVersions", default=None) or []
    if not stored:
        out.append(wrong(path, None, "must have at least one stored version"))
        return
    told = [version.get("name") for version in versions]
    for index, version in enumerate(stored):
        if version not in told:
            said = (
                f"missing from spec.versions; {version} was previously a storage version, and must remain in "
                "spec.versions until a storage migration ensures no data remains persisted in "
                f"{version} and removes {version} from status.storedVersions"
            )
            out.append(wrong(f"{path}[{index}]", version, said))
    missing = [v["name"] for v in versions if v.get("storage") and v.get("name") not in stored]
    if missing:
        out.append(wrong(path, stored, f"must have the storage version {missing[0]}"))


def _approval(document: Document, out: list[Cause]) -> None:
    if not lookup(document, "spec", "group"):
        return
    found = approval(document)
    where = f"metadata.annotations[{ANNOTATION}]"
    if found is not None and found[1] == "MissingAnnotation":
        out.append(required(where, found[2]))
    elif found is not None and found[1] == "InvalidAnnotation":
        value = document["metadata"]["annotations"][ANNOTATION]
        out.append(wrong(where, value, found[2]))
