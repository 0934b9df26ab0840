"""Bundles of certificates in which a server's own must be found."""

import base64
import binascii
import re

from ksql.schema.errors import Cause
from ksql.schema.faults import wrong

_BLOCK = re.compile(rb"-----BEGIN ([^\n]*?)-----\r?\n(.*?)-----END \1-----", re.S)


def check_bundle(text: str, path: str, out: list[Cause]) -> None:
    """A bundle, base64 of PEM: at least one certificate must be in it."""
    # Seldom needed, and slow to load.
    from cryptography import x509

    try:
        data = base64.b64decode(text)
    except (ValueError, binascii.Error):
        # Not base64 at all: the decoder has refused it.
        return
    blocks = _BLOCK.findall(data)
    fault = "no valid certificate authority data seen" if blocks else "unable to parse bytes as PEM block"
    for kind, body in blocks:
        if kind != b"CERTIFICATE":
            continue
        try:
            x509.load_der_x509_certificate(base64.b64decode(body))
        except ValueError as error:
            fault = f"failed to parse certificate: {error}"
        else:
            return
    out.append(wrong(path, text, f"unable to load root certificates: {fault}"))
