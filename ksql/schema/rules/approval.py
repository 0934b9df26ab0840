"""The groups that Kubernetes keeps for itself: who defines kinds in them says who approved of it."""

from urllib.parse import urlsplit

from ksql.base.documents import Document

ANNOTATION = "api-approved.kubernetes.io"
_PROTECTED = ("k8s.io", "kubernetes.io")
POLICY = "https://github.com/kubernetes/enhancements/pull/1111"


def is_protected(group: str) -> bool:
    """Whether only approved APIs may be defined in the group."""
    return any(group == suffix or group.endswith(f".{suffix}") for suffix in _PROTECTED)


def approval(definition: Document) -> tuple[bool, str, str] | None:
    """Whether a CRD in a protected group was approved, with reason and message; None for all other groups."""
    if not is_protected(definition["spec"]["group"]):
        return None
    said = (definition["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    if not said:
        fault = f'protected groups must have approval annotation "{ANNOTATION}", see {POLICY}'
        return False, "MissingAnnotation", fault
    if said.startswith("unapproved"):
        return False, "UnapprovedAnnotation", f"not approved: {_quoted(said)}"
    parts = urlsplit(said)
    if parts.scheme and parts.netloc:
        return True, "ApprovedAnnotation", f"approved in {said}"
    fault = "protected groups must have approval annotation"
    return False, "InvalidAnnotation", (
        f'{fault} "{ANNOTATION}" with either a URL or a reason starting with "unapproved", see {POLICY}'
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
