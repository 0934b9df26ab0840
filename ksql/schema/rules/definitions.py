"""Rules of CustomResourceDefinitions: names, versions, columns, subresources, conversion.

Where all versions say the same of a part (the schema, the columns, …), kube-apiserver speaks of it as said
once for all of them: then its place in messages is `spec.validation`, `spec.subresources` and so on. The order of
complaints is its own too: versions with all that is in them, then what was said once, then the conversion. The rules
of schemas themselves stand in `structural.py`.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any

from ksql.base.documents import Document, lookup
from ksql.schema import names
from ksql.schema.custom.fieldpaths import steps_of
from ksql.schema.errors import Cause
from ksql.schema.faults import IMMUTABLE, duplicate, forbidden, required, too_many, unsupported, wrong
from ksql.schema.golang import schemas
from ksql.schema.jsonpath import PathError
from ksql.schema.rules.admission import check_service, check_url
from ksql.schema.rules.approval import ANNOTATION, approval
from ksql.schema.rules.authorities import check_bundle
from ksql.schema.rules.structural import check_schema

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEWS = ("v1", "v1beta1")
DEPRECATION_WARNING_MAX = 256
# As many fields as kube-apiserver keeps ready for selection.
SELECTABLE_MAX = 8
_SHARED = ("schema", "additionalPrinterColumns", "subresources", "selectableFields")


def check_definition_birth(document: Document, out: list[Cause]) -> None:
    """A CRD as it is made: its name says what it defines. Later neither can change."""
    spec = document.get("spec") or {}
    wanted = f"{(spec.get('names') or {}).get('plural', '')}.{spec.get('group', '')}"
    name = (document.get("metadata") or {}).get("name", "")
    if name and name != wanted:
        out.append(wrong("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    check_definition(document, out)


def check_definition(document: Document, out: list[Cause]) -> None:
    """A CRD by itself."""
    spec = document.get("spec") or {}
    versions = spec.get("versions") or []
    _group(spec.get("group") or "", out)
    _scope(spec, out)
    common = [field for field in _SHARED if versions and _same_everywhere(versions, field)]
    shared = {field: versions[0].get(field) for field in common}
    own = [{field: value for field, value in version.items() if field not in common} for version in versions]
    if _schema_of(shared) is None:
        for index, version in enumerate(own):
            if _schema_of(version) is None:
                out.append(required(f"spec.versions[{index}].schema.openAPIV3Schema"))
    _versions(own, shared, out, is_given=spec.get("versions") is not None)
    _names(spec.get("names") or {}, "spec.names", out, all_required=True)
    has_status = any("status" in (version.get("subresources") or {}) for version in versions)
    _part(shared, "spec", "spec.validation", "spec.selectableFields", has_status, out)
    if spec.get("preserveUnknownFields"):
        said = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        out.append(wrong("spec.preserveUnknownFields", True, said))
    _conversion(spec.get("conversion"), out)
    check_definition_status(document, document, out)
    _stored(document, versions, out)
    _approval(document, out)


def check_definition_status(document: Document, _old: Document, out: list[Cause]) -> None:
    """The part that says which names were accepted."""
    accepted = lookup(document, "status", "acceptedNames", default=None) or {}
    _names(accepted, "status.acceptedNames", out, all_required=False)


def check_change(document: Document, old: Document, out: list[Cause]) -> None:
    """What may not change of a CRD: its objects' place, and once it is served how they are told."""
    conditions = lookup(old, "status", "conditions", default=None) or ()
    established = any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)
    fixed = [("scope",), ("names", "kind")] if established else []
    for path in (*fixed, ("group",), ("names", "plural")):
        before, after = lookup(old, "spec", *path), lookup(document, "spec", *path)
        if before != after:
            out.append(wrong(".".join(("spec", *path)), after or "", IMMUTABLE))
    bundle = lookup(document, "spec", "conversion", "webhook", "clientConfig", "caBundle", default=None)
    if established and bundle and not _was_broken(old):
        check_bundle(bundle, "spec.conversion.webhookClientConfig.caBundle", out)


def _was_broken(old: Document) -> bool:
    """Whether the bundle was none already: then a change of something else is not refused for it."""
    bundle = lookup(old, "spec", "conversion", "webhook", "clientConfig", "caBundle", default=None)
    found: list[Cause] = []
    if bundle:
        check_bundle(bundle, "", found)
    return bool(found)


# --- names -----------------------------------------------------------------------------------------


def _group(group: str, out: list[Cause]) -> None:
    if not group:
        out.append(required("spec.group"))
    elif complaints := names.subdomain(group):
        out.append(wrong("spec.group", group, ",".join(complaints)))
    elif "." not in group:
        out.append(wrong("spec.group", group, "should be a domain with at least one dot"))


def _scope(spec: Document, out: list[Cause]) -> None:
    scope = spec.get("scope") or ""
    if not scope:
        out.append(required("spec.scope"))
    elif scope not in ("Cluster", "Namespaced"):
        out.append(unsupported("spec.scope", scope, ("Cluster", "Namespaced")))


def _names(named: Document, path: str, out: list[Cause], *, all_required: bool) -> None:
    words = ("plural", "singular", "kind", "listKind")
    if all_required:
        out += [required(f"{path}.{field}") for field in words if not named.get(field)]
    for field in words:
        word = named.get(field) or ""
        mixed = field in ("kind", "listKind")
        if word and (complaints := names.label_name_1035(word.lower() if mixed else word)):
            said = ",".join(complaints)
            said = f"may have mixed case, but should otherwise match: {said}" if mixed else said
            out.append(wrong(f"{path}.{field}", word, said))
    _listed(named, "shortNames", path, out)
    if named.get("kind") and named.get("kind") == named.get("listKind"):
        out.append(wrong(f"{path}.listKind", named["listKind"], "kind and listKind may not be the same"))
    _listed(named, "categories", path, out)


def _listed(named: Document, field: str, path: str, out: list[Cause]) -> None:
    for index, word in enumerate(named.get(field) or ()):
        if complaints := names.label_name_1035(word):
            out.append(wrong(f"{path}.{field}[{index}]", word, ",".join(complaints)))


# --- versions --------------------------------------------------------------------------------------


def _versions(versions: list[Document], shared: Document, out: list[Cause], *, is_given: bool) -> None:
    told = [version.get("name") or "" for version in versions]
    has_own = any(version.get("subresources") is not None for version in versions)
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if complaints := names.label_name_1035(told[index]):
            out.append(wrong(f"{path}.name", told[index], ",".join(complaints)))
        _deprecation(version, path, out)
        # The subresources that count are those of the first version of the name.
        parts = versions[told.index(told[index])].get("subresources") if has_own else shared.get("subresources")
        fields = f"{path}.selectableFields"
        _part(version, path, f"{path}.schema", fields, "status" in (parts or {}), out)
    shown = [schemas.version(version) for version in versions] if is_given else None
    if len(set(told)) < len(told):
        out.append(wrong("spec.versions", shown, "must contain unique version names"))
    if sum(1 for version in versions if version.get("storage")) != 1:
        out.append(wrong("spec.versions", shown, "must have exactly one version marked as storage version"))
    if told and told[0] and (complaints := names.label_name_1035(told[0])):
        out.append(wrong("spec.version", told[0], ",".join(complaints)))


def _deprecation(version: Document, path: str, out: list[Cause]) -> None:
    warning, where = version.get("deprecationWarning"), f"{path}.deprecationWarning"
    if warning is None:
        return
    if not version.get("deprecated"):
        out.append(wrong(where, warning, "can only be set for deprecated versions"))
        return
    if len(warning.encode()) > DEPRECATION_WARNING_MAX:
        out.append(wrong(where, warning, f"must be <= {DEPRECATION_WARNING_MAX} characters long"))
    if not warning:
        out.append(wrong(where, warning, "must not be an empty string"))
    at = 0
    for letter in warning:
        # What Go prints: of all that is white only the space.
        if unicodedata.category(letter)[0] in "CZ" and letter != " ":
            said = "must only contain printable UTF-8 characters; non-printable character found at index"
            out.append(wrong(where, warning, f"{said} {at}"))
            break
        at += len(letter.encode("utf-8", "surrogatepass"))


def _same_everywhere(versions: list[Document], field: str) -> bool:
    """An empty list is as good as none."""
    first = versions[0].get(field)
    return all(version.get(field) == first or (not first and version.get(field) in ([], None) and first in ([], None))
               for version in versions)  # fmt: skip


def _schema_of(version: Document) -> Document | None:
    found: Document | None = lookup(version, "schema", "openAPIV3Schema", default=None)
    return found


def _part(part: Document, path: str, schema_path: str, fields_path: str, has_status: bool, out: list[Cause]) -> None:
    """What a version says beside its name, or what all versions say."""
    schema = _schema_of(part)
    if schema is not None:
        check_schema(schema, f"{schema_path}.openAPIV3Schema", out, beside_status=has_status)
    _subresources(part.get("subresources") or {}, f"{path}.subresources", out)
    _columns(part.get("additionalPrinterColumns") or [], f"{path}.additionalPrinterColumns", out)
    fields = part.get("selectableFields") or []
    if not fields:
        return
    if schema is None:
        said = "may only be set when `version.schema.openAPIV3Schema` is not included"
        if path == "spec":
            said = "may only be set when validations.schema is included"
        out.append(wrong(fields_path, "", said))
        return
    _selectable(fields, schema, fields_path, out)


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


def _selectable(fields: list[Document], schema: Mapping[str, Any], path: str, out: list[Cause]) -> None:
    seen: set[tuple[str, ...]] = set()
    for index, field in enumerate(fields):
        text, where = field.get("jsonPath") or "", f"{path}[{index}].jsonPath"
        if not text:
            out.append(required(where))
            continue
        try:
            steps, found = steps_of(schema, text, with_keys=False)
        except PathError as error:
            out.append(wrong(where, text, f"is an invalid path: {error}"))
            continue
        if steps[0] == ".metadata":
            out.append(wrong(where, text, "must not point to fields in metadata"))
        if not isinstance(found, Mapping) or found.get("type") not in ("string", "boolean", "integer"):
            out.append(wrong(where, text, _NOT_SELECTABLE))
        if steps in seen:
            out.append(duplicate(where, text))
        seen.add(steps)
    if len(seen) > SELECTABLE_MAX:
        out.append(too_many(path, len(seen), SELECTABLE_MAX))


_NOT_SELECTABLE = (
    "must point to a field of type string, boolean or integer. "
    "Enum string fields and strings with formats are allowed."
)


# --- conversion ------------------------------------------------------------------------------------


def _conversion(conversion: Document | None, out: list[Cause]) -> None:
    if conversion is None:
        return
    strategy, webhook = conversion.get("strategy") or "", conversion.get("webhook") or {}
    path = "spec.conversion"
    if not strategy:
        out.append(required(f"{path}.strategy"))
    elif strategy not in ("None", "Webhook"):
        out.append(unsupported(f"{path}.strategy", strategy, ("None", "Webhook")))
    config, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
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
            continue
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
    told = {version.get("name") for version in versions}
    left = set(stored)
    for version in versions:
        name = version.get("name") or ""
        if version.get("storage") and name not in left:
            # Of two versions of one name the second finds it gone.
            out.append(wrong(path, stored, f"must have the storage version {name}"))
        left.discard(name)
    for index, name in enumerate(stored):
        if name not in told:
            said = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                "spec.versions until a storage migration ensures no data remains persisted in "
                f"{name} and removes {name} from status.storedVersions"
            )
            out.append(wrong(f"{path}[{index}]", name, said))


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
