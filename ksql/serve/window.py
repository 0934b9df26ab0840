"""The web UI's files: a page for its routes, and what the page loads.

They are built by `make web` into `ksql/_web`, compressed once at that time, and are the same for everybody, so they
are served before anybody is asked for a name; what they show is asked through the other doors. The page's policy
lets nothing in from elsewhere. Without built files the page says so, and how to get them.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ksql.serve.exchange import NOT_ALLOWED, TEXT_TYPE, Exchange, Header

BUILT = Path(__file__).parents[1] / "_web"
# The routes of the UI (`web/src/state/route.ts`); each is the same page, which looks at its own address.
PAGES = ("/t", "/o", "/b", "/e", "/m", "/a", "/q")
ASSETS = "/assets/"
HTML_TYPE = b"text/html; charset=utf-8"
# An asset's name holds a hash of what is in it.
FOR_EVER = b"public, max-age=31536000, immutable"
# The page and what has a plain name: asked for each time, answered with 304 while it is the same.
REVALIDATED = b"no-cache"
_TYPES = {
    ".html": HTML_TYPE, ".js": b"text/javascript; charset=utf-8", ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml", ".png": b"image/png", ".woff2": b"font/woff2", ".json": b"application/json",
    ".txt": TEXT_TYPE, ".ttf": b"font/ttf",
}  # fmt: skip
# In order of liking: what saves most.
_ENCODINGS = ((b"br", ".br"), (b"gzip", ".gz"))

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
# The explorer's own editor writes style elements and carries its font in its style sheet.
EXPLORER_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "font-src 'self'", "font-src 'self' data:"
)
_GUARDS: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)

_UNBUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>ksql</title>
<h1>The web UI has not been built in this checkout</h1>
<p>Run <code>make web</code> (it needs Node 20.19 or newer and npm) and load this page again.</p>
<p>Everything else works: <code>kubectl</code>, <code>ksql --help</code>, GraphQL at <code>/graphql</code>.</p>
</html>
"""


@dataclass(frozen=True, slots=True)
class _File:
    """One file, in each form in which it can be sent."""

    media: bytes
    forms: dict[bytes, bytes]  # by content encoding; b"" as it is
    tag: bytes


class Window:
    """Serves the files of a folder. They are read when first asked for: start-up never waits for them."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._folder = folder
        self._names: frozenset[str] | None = None
        self._kept: dict[str, _File] = {}

    def owns(self, exchange: Exchange) -> bool:
        """Whether this is the UI's to answer: the root only for who wants a page, since programs ask it too."""
        path = exchange.path
        if path == "/":
            return b"text/html" in exchange.headers.get(b"accept", b"")
        return path in PAGES or path.startswith(("/o/", ASSETS)) or path == "/favicon.svg"

    async def serve(self, exchange: Exchange) -> None:
        exchange.verb, exchange.label = "get", "window"
        if exchange.method not in ("GET", "HEAD"):
            await exchange.answer(405, NOT_ALLOWED, headers=[(b"allow", b"GET, HEAD")])
            return
        path = exchange.path
        is_file = path.startswith(ASSETS) or path == "/favicon.svg"
        found = self._file(path[1:] if is_file else "index.html")
        if found is None and is_file:
            await exchange.no_page()
            return
        policy = EXPLORER_POLICY if path == "/q" else POLICY
        headers = [*_GUARDS, (b"content-security-policy", policy.encode()), (b"vary", b"accept, accept-encoding")]
        if found is None:
            await exchange.answer(200, _UNBUILT, HTML_TYPE, headers, REVALIDATED)
            return
        cache = FOR_EVER if path.startswith(ASSETS) else REVALIDATED
        headers.append((b"etag", found.tag))
        if exchange.headers.get(b"if-none-match") == found.tag:
            await exchange.answer(304, b"", found.media, headers, cache)
            return
        encoding = _encoding(exchange.headers.get(b"accept-encoding", b""), found)
        if encoding:
            headers.append((b"content-encoding", encoding))
        data = found.forms[encoding]
        await exchange.answer(200, b"" if exchange.method == "HEAD" else data, found.media, headers, cache)

    def _file(self, name: str) -> _File | None:
        """A file that was there when the folder was first read: no other path leads to the disk."""
        found = self._kept.get(name)
        if found is not None:
            return found
        if self._names is None or name not in self._names:
            # Built since, perhaps.
            self._names = frozenset(
                str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file()
            )
        if name not in self._names:
            return None
        plain = (self._folder / name).read_bytes()
        forms = {b"": plain}
        for encoding, ending in _ENCODINGS:
            if name + ending in self._names:
                forms[encoding] = (self._folder / (name + ending)).read_bytes()
        tag = b'"%s"' % hashlib.sha256(plain).hexdigest()[:32].encode()
        made = _File(_TYPES.get(Path(name).suffix, b"application/octet-stream"), forms, tag)
        if name != "index.html":
            # The page names the assets: one that is built anew must be seen.
            self._kept[name] = made
        return made


def _encoding(accepted: bytes, file: _File) -> bytes:
    """The best form that the client takes."""
    parts = [part.strip().partition(b";") for part in accepted.split(b",")]
    taken = {name for name, _, weight in parts if weight.strip() != b"q=0"}
    return next((encoding for encoding, _ in _ENCODINGS if encoding in taken and encoding in file.forms), b"")
