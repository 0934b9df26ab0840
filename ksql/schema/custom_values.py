"""Is a custom resource what its schema allows? Every fault, in kube-apiserver's words."""

from ksql.base.documents import Document
from ksql.schema.custom import CustomVersion
from ksql.schema.errors import Cause


def validate(
    custom: CustomVersion, document: Document, old: Document | None = None, subresource: str = ""
) -> list[Cause]:
    """What is wrong with a document of this version; `old` is what it was in the same version."""
    return []
