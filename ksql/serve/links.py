"""Links of pages that a proxy hands back, led through the proxy again. Pure.

A page of a pod names its own paths; followed from the server's address they would lead to the server. As
kube-apiserver's proxy does, paths without a host of their own get the proxy's path before them, in the
attributes that HTML says are links, and in `Location`.
"""

import re
from urllib.parse import urlsplit, urlunsplit

# Attributes that hold an address, by element: HTML's own list, the obsolete ones included.
_LINKS = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
    "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src", "form": "action",
    "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
    "img": "longdesc src usemap", "input": "formaction src usemap", "ins": "cite", "link": "href",
    "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "video": "poster src",
}  # fmt: skip
_TAG = re.compile(r"<([A-Za-z]+)(\s[^<>]*)>")
_ATTRIBUTE = re.compile(r"([A-Za-z-]+)(\s*=\s*)(\"[^\"]*\"|'[^']*')")


def led(page: str, base: str) -> str:
    """A page whose links go through the proxy at the path `base`."""

    def tag(match: re.Match[str]) -> str:
        names = _LINKS.get(match[1].lower(), "").split()
        if not names:
            return match[0]

        def attribute(found: re.Match[str]) -> str:
            if found[1].lower() not in names:
                return found[0]
            mark, value = found[3][0], found[3][1:-1]
            return f"{found[1]}{found[2]}{mark}{address(value, base)}{mark}"

        return f"<{match[1]}{_ATTRIBUTE.sub(attribute, match[2])}>"

    return _TAG.sub(tag, page)


def address(text: str, base: str) -> str:
    """One address; another host's, a part of the page and what leads through the proxy already stay as they are."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith(base):
        return text
    return urlunsplit(("", "", f"{base.rstrip('/')}/{parts.path.lstrip('/')}", parts.query, parts.fragment))
