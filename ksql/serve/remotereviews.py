"""Reviews that another server answers: whose token this is (TokenReview), who may what (SubjectAccessReview).

One question is one POST, with the identity and the trust that a kubeconfig gives; nothing is tried twice, and nobody
who does not answer in time is believed to have said yes.
"""

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

from ksql.base.documents import Document, DocumentError, decode, encode

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

# kube-apiserver waits ten seconds for a token's review, and three for an authorizer by default.
TOKEN_SECONDS = 10.0
# A review's status is far smaller.
ANSWER_BYTES_MAX = 1024 * 1024
TOKEN_REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}


class Remote:
    """A server that answers reviews."""

    def __init__(self, url: str, context: ssl.SSLContext, headers: list[tuple[str, str]], seconds: float) -> None:
        self._url, self._context, self._headers, self._seconds = url, context, headers, seconds
        self._client: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def ask(self, review: Document) -> dict[str, Any] | None:
        """The status of the answered review; None when there was no answer that can be believed."""
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(verify=self._context, headers=self._headers, trust_env=False)
        try:
            async with asyncio.timeout(self._seconds), self._client.stream(
                "POST", self._url, content=encode(review), headers={"content-type": "application/json"},
                timeout=self._seconds,
            ) as answer:  # fmt: skip
                data = bytearray()
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > ANSWER_BYTES_MAX:
                        raise ValueError(f"more than {ANSWER_BYTES_MAX} bytes")
                if not answer.is_success:
                    raise ValueError(f"code {answer.status_code}")
            found = decode(bytes(data))
            status = found.get("status") if isinstance(found, dict) and found.get("kind") == review["kind"] else None
            if not isinstance(status, dict):
                raise ValueError(f"no {review['kind']} with a status")
            return status
        except (TimeoutError, httpx.TimeoutException):
            why = f"nothing within {self._seconds:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, DocumentError, ValueError) as error:
            why = str(error) or type(error).__name__
        # What was asked stays out of the line: there are tokens among it.
        logger.warning("the webhook at %s answers with %s", self._url, why)
        return None


def token_review(token: str, audiences: tuple[str, ...]) -> Document:
    """The question whose token this is."""
    spec: Document = {"token": token}
    return {**TOKEN_REVIEW, "metadata": {}, "spec": {**spec, "audiences": list(audiences)} if audiences else spec}
