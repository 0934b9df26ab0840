"""Calls to webhooks: a POST of JSON over TLS that must be answered in time, to a URL or to a Service.

A Service is reached at one of its ready endpoints, with the certificate its name in the cluster's DNS asks
for. Nothing is tried twice: whoever needed the answer is refused and may try again. Answers are bounded in
time and size, so that a webhook can delay a request but not hold the server.
"""

import asyncio
import base64
import binascii
import ssl
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ksql.base.clock import Clock, new_uid
from ksql.base.documents import Document, DocumentError, decode, encode
from ksql.conversations import Nodes, Nowhere, Wire
from ksql.schema.custom import conversion as custom_conversion
from ksql.schema.custom.definitions import CustomVersion
from ksql.schema.errors import ApiError
from ksql.serve.destinations import Backend, backend_of
from ksql.state.objects import Objects
from ksql.verbs.guards.webhooks import CallFailure

if TYPE_CHECKING:
    import httpx

# kube-apiserver's own bound on a conversion.
TIMEOUT_SECONDS = 30.0
# An answer holds as many objects as the question, which may be a whole list.
ANSWER_BYTES_MAX = 256 * 1024 * 1024
# The answer to a review holds at most a patch of one object.
REVIEW_BYTES_MAX = 16 * 1024 * 1024
# Clients kept open, one for each authority that webhooks are trusted by.
CLIENTS_MAX = 64
# Pods behind services that were called lately.
PODS_MAX = 1024
USER_AGENT = "kube-apiserver-admission"


class CallError(CallFailure):
    """The webhook did not answer, or not with success; the message is the reason."""


class Webhooks:
    """Calls webhooks, conversion ones above all (`verbs.conversion.Converter`)."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects, self._clock = objects, clock
        self._clients: dict[str, httpx.AsyncClient] = {}
        # Where the pods behind services are found; set once there are nodes.
        self.nodes: Nodes = Nowhere()
        self._pods: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def aclose(self) -> None:
        """Close the connections that were kept."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def convert(
        self, custom: CustomVersion, documents: Sequence[Document], api_version: str
    ) -> Sequence[Document]:
        """The documents in another apiVersion, as the CRD's webhook makes them."""
        if not documents:
            return []
        assert custom.conversion is not None
        version, uid = custom_conversion.review_version(custom), new_uid(self._clock)
        question = custom_conversion.review(version, uid, documents, api_version)
        try:
            config = custom.conversion["webhook"]["clientConfig"]
            answer = await self.call(config, question, TIMEOUT_SECONDS, ANSWER_BYTES_MAX)
        except CallError as error:
            raise custom_conversion.failed(documents[0], str(error)) from None
        return custom_conversion.answered(answer, version, uid, documents, api_version)

    async def call(
        self, config: Document, question: Document, seconds: float, bytes_max: int = REVIEW_BYTES_MAX
    ) -> object:
        """What the webhook answers, within `seconds` from first to last byte; `CallError` when it does not."""
        # Few servers ever call one, and the import takes a tenth of a start.
        import httpx

        url, server = self._address(config)
        shown = f"{self._shown(config)}?timeout={seconds:g}s"
        client = await self._client(config.get("caBundle") or "")
        try:
            host = server or httpx.URL(url).host
        except httpx.InvalidURL as error:
            raise CallError(f'Post "{shown}": {error}') from None
        headers = {"user-agent": USER_AGENT, "content-type": "application/json", "accept": "application/json, */*"}
        if server:
            headers["host"] = server
        try:
            async with asyncio.timeout(seconds), client.stream(
                "POST", url, params={"timeout": f"{seconds:g}s"}, content=encode(question), headers=headers,
                timeout=seconds, extensions={"sni_hostname": host},
            ) as response:  # fmt: skip
                data = bytearray()
                async for piece in response.aiter_bytes():
                    data += piece
                    if len(data) > bytes_max:
                        raise CallError(f'Post "{shown}": the answer is larger than {bytes_max} bytes')
        except (httpx.TimeoutException, TimeoutError):
            raise CallError(f'Post "{shown}": context deadline exceeded') from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise CallError(f'Post "{shown}": {_reason(error)}') from None
        if not response.is_success:
            said = bytes(data[:256]).decode("utf-8", "replace").strip() or "unknown"
            raise CallError(f'an error on the server ("{said}") has prevented the request from succeeding')
        try:
            return decode(bytes(data))
        except DocumentError as error:
            raise CallError(f"couldn't get version/kind; json parse error: {error}") from None

    def _shown(self, config: Document) -> str:
        """The address as messages tell it."""
        service = config.get("service")
        if service is None:
            return str(config.get("url", ""))
        name, namespace = service.get("name", ""), service.get("namespace", "")
        port, path = service.get("port", 443), service.get("path") or "/"
        return f"https://{name}.{namespace}.svc:{port}{path}"

    def _address(self, config: Document) -> tuple[str, str]:
        """Where to connect to, and the name that the certificate must be for (empty: the URL's own host)."""
        service = config.get("service")
        if service is None:
            return str(config.get("url", "")), ""
        name, namespace = service.get("name", ""), service.get("namespace", "")
        found = self._backend(namespace, name, service.get("port", 443))
        if found.pod:
            self._pods[found.address] = (namespace, found.pod)
            while len(self._pods) > PODS_MAX:
                self._pods.popitem(last=False)
        host = f"[{found.address}]" if ":" in found.address else found.address
        return f"https://{host}:{found.port}{service.get('path') or '/'}", f"{name}.{namespace}.svc"

    def _backend(self, namespace: str, name: str, port: int) -> Backend:
        """A ready endpoint of a Service's port."""
        service = self._objects.get("services", namespace, name)
        if service is None:
            raise CallError(f'service "{name}" not found')
        endpoints = self._objects.get("endpoints", namespace, name)
        known = None if endpoints is None else endpoints.document
        try:
            return backend_of(service.document, known, str(port), self._clock.random.choice)
        except ApiError as error:
            raise CallError(error.message) from None

    async def _dial(self, host: str, port: int) -> Wire | None:
        """Connect to a pod that a service led to, through its node; None for what is no pod of our nodes."""
        pod = self._objects.document("pods", *self._pods[host]) if host in self._pods else None
        kubelet = self.nodes.kubelet(pod["spec"].get("nodeName", "")) if pod is not None else None
        return await kubelet.dial(pod, port) if pod is not None and kubelet is not None else None

    async def _client(self, authorities: str) -> "httpx.AsyncClient":
        import httpx

        client = self._clients.get(authorities)
        if client is None:
            from ksql.serve.podnetwork import transport

            client = httpx.AsyncClient(
                transport=transport(self._dial, _trust(authorities)), trust_env=False, follow_redirects=False
            )
            self._clients[authorities] = client
            if len(self._clients) > CLIENTS_MAX:
                oldest = next(iter(self._clients))
                await self._clients.pop(oldest).aclose()
        return client


@lru_cache(CLIENTS_MAX)
def _trust(authorities: str) -> ssl.SSLContext:
    """Whom to believe: the bundle of the configuration, or those the machine believes."""
    if not authorities:
        return ssl.create_default_context()
    try:
        text = base64.b64decode(authorities, validate=True).decode()
        return ssl.create_default_context(cadata=text)
    except (binascii.Error, ValueError, ssl.SSLError) as error:
        raise CallError(f"unable to load root certificates: {error}") from None


def _reason(error: Exception) -> str:
    """Why a connection failed, in words like Go's where it has some."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        if "Hostname mismatch" in text or "IP address mismatch" in text or "not valid for" in text:
            return "tls: failed to verify certificate: x509: certificate is not valid for the webhook's name"
        return "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    if "refused" in text or "All connection attempts failed" in text:
        return "connect: connection refused"
    return text
