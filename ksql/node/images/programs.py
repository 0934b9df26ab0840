"""The programs that images bring, by the name that they are called by."""

from collections.abc import Mapping

from ksql.node.images import agnhost, tools, web
from ksql.node.images.fetching import curl, dig, getent, nc, nslookup, wget
from ksql.node.shell import Command

PROGRAMS: Mapping[str, Command] = {
    "agnhost": agnhost.agnhost,
    "agnhost-2": agnhost.agnhost,
    "curl": curl,
    "dig": dig,
    "getent": getent,
    "httpd-foreground": web.httpd,
    "nc": nc,
    "nginx": web.nginx,
    "nonewprivs": agnhost.SUBCOMMANDS["nonewprivs"],
    "nslookup": nslookup,
    "pause": agnhost.SUBCOMMANDS["pause"],
    "test-webserver": web.test_webserver,
    "wget": wget,
    **tools.TOOLS,
}
