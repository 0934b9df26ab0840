"""What a simulated server's TLS is made with: the files that it names, or a certificate that it signs itself."""

import ssl
import tempfile
from pathlib import Path

from ksql.auth.pki import make_authority
from ksql.base.clock import Clock
from ksql.node.shell import Run


def given_context(run: Run, certificate: str, key: str) -> ssl.SSLContext:
    """For a certificate and its key in files of the container; `OSError` when they are none."""
    place = run.place
    return _context(place.files.read(place.path(certificate)), place.files.read(place.path(key)))


def own_context(clock: Clock) -> ssl.SSLContext:
    """For a server that brings a certificate which nobody trusts."""
    pair = make_authority(clock, "simulated-server")
    return _context(pair.certificate, pair.key)


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The library reads them from files alone; these are gone before anything is served.
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "tls.crt"), Path(folder, "tls.key")
        for path, data in zip(paths, (certificate, key), strict=True):
            path.touch(0o600)
            path.write_bytes(data)
        try:
            context.load_cert_chain(*paths)
        except ssl.SSLError as error:
            raise OSError(f"tls: failed to load key pair: {error}") from None
    return context
