"""What every TLS context of ours has in common: which versions and ciphers are spoken, and how a pair is loaded.

Contexts themselves are made where it is known whom to trust.
"""

import contextlib
import os
import ssl
import tempfile
from pathlib import Path

# For TLS 1.2: forward secrecy and authenticated encryption alone, as RFC 9325 (4.2) asks; 1.3 has nothing else.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def hardened(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context: 1.2 and later, good ciphers in the server's order, nothing renegotiated or compressed."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    return context


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Show this certificate (PEM, with what vouches for it); `ssl.SSLError` when the two do not belong together."""
    # Python's ssl reads keys from files alone: one of our own (mode 0600), gone as soon as it is read.
    descriptor, path = tempfile.mkstemp(prefix="ksql-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + key)
        context.load_cert_chain(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
