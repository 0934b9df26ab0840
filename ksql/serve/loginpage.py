"""The page on which one logs in, small enough to be read: three files of our own and nothing from elsewhere.

The one-time code stands behind the `#` of a link, which browsers keep to themselves: no server, proxy or history of
requests sees it. The script takes it from there and sends it in a form; without scripts it is pasted into the field.
"""

from html import escape
from urllib.parse import quote

from ksql.auth.sessions import CODE_SECONDS

# Nothing but our own script and style, and forms that lead back to us.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none';"
    b" frame-ancestors 'none'"
)

SCRIPT = b"""\
"use strict";
const told = new URLSearchParams(location.hash.slice(1));
const code = told.get("code") || (location.hash.includes("=") ? "" : location.hash.slice(1));
const next = told.get("next");
history.replaceState(null, "", location.pathname);
for (const field of document.querySelectorAll("input[name=next]")) field.value = next || field.value;
for (const link of document.querySelectorAll("a")) if (next) link.search = new URLSearchParams({ next });
if (code) {
  document.querySelector("input[name=code]").value = code;
  document.querySelector("form").submit();
}
"""

STYLE = b"""\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; place-items: center; min-height: 90vh; margin: 0; }
main { width: min(26rem, 90vw); }
h1 { font-size: 1.25rem; font-weight: 600; }
p { color: color-mix(in srgb, CanvasText 70%, Canvas); }
[role=alert] { color: CanvasText; border-left: 4px solid #d33; padding-left: 0.75rem; }
form { display: flex; gap: 0.5rem; margin: 1rem 0; }
input { flex: 1; min-width: 0; }
input, button { font: inherit; padding: 0.5rem 0.75rem; border: 1px solid GrayText; border-radius: 6px; }
code { font-size: 0.95em; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Log in · ksql</title>
<link rel="stylesheet" href="/login/page.css">
<script src="/login/page.js" defer></script>
<main>
<h1>Log in to ksql</h1>
{fault}<p>Open the link that <code>ksql up</code> or <code>ksql login</code> printed, or paste its code here.
It is good once, for {minutes} minutes.</p>
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<input name="code" autocomplete="off" spellcheck="false" required
 aria-label="One-time code" placeholder="one-time code">
<button>Log in</button>
</form>
{providers}</main>
</html>
"""

# A link: where a form leads on to is what the policy looks at, and this leads to the provider.
_PROVIDER = """<p><a href="/login/oidc?next={next}">Log in with {name}</a></p>
"""


def page(next: str, fault: str = "", provider: str = "") -> bytes:
    """The page; `fault` says why the last try did not succeed, `provider` names who else can say who one is."""
    shown = f'<p role="alert">{escape(fault)}</p>\n' if fault else ""
    others = _PROVIDER.format(next=quote(next, safe=""), name=escape(provider)) if provider else ""
    return _PAGE.format(fault=shown, minutes=CODE_SECONDS // 60, next=escape(next), providers=others).encode()
