"""Whom a cluster believes beside itself, put together from its settings: other issuers, webhooks, front proxies.

Webhooks are named by kubeconfigs, as kube-apiserver has it.
"""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from ksql.auth.authenticate import Authenticator
from ksql.auth.identity import Authorizer
from ksql.base.clock import Clock
from ksql.kubeconfig import KubeconfigError, load
from ksql.serve.app import Door
from ksql.serve.remotereviews import TOKEN_SECONDS, Remote, token_review
from ksql.settings import Settings, SettingsError

Arrange = Callable[[Authorizer, Authorizer], Sequence[Authorizer]]


async def authentication(settings: Settings, authenticator: Authenticator, clock: Clock, stack: AsyncExitStack) -> None:
    """Tokens that others issue or judge, and the proxies whose word counts."""
    authenticator.front_proxies = frozenset(settings.front_proxies)
    if settings.token_webhook is not None:
        from ksql.auth.reviewed import Reviewed

        remote = _remote(settings.token_webhook, "--authentication-token-webhook-config-file", TOKEN_SECONDS)
        stack.push_async_callback(remote.aclose)
        audiences = tuple(authenticator.accounts.audiences) if authenticator.accounts else ()
        authenticator.reviewed = Reviewed(lambda token: remote.ask(token_review(token, audiences)), clock, audiences)
    if settings.authentication_config is not None:
        from ksql.serve.issuing import Issuing

        issuing = Issuing(authenticator.issuers, settings.authentication_config, clock)
        await issuing.start()
        stack.push_async_callback(issuing.aclose)


def login(settings: Settings, door: Door, authenticator: Authenticator, clock: Clock) -> None:
    """Let browsers log in with a provider, where one is named."""
    if settings.login is None or door.login is None:
        return
    from ksql.serve.oidclogin import SCOPES, Client, OidcLogin

    told, secret = settings.login, ""
    if told.secret is not None:
        try:
            secret = told.secret.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--login-client-secret-file {str(told.secret)!r}: {error}") from None
    client = Client(told.issuer, told.client, secret, told.scopes or SCOPES)
    door.router.routes.extend(OidcLogin(door.login, authenticator.issuers, client, clock).routes())


def authorization(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Arrange | None:
    """Who is asked for permission, when a file says so: from the node authorizer and roles to all of them in order."""
    if settings.authorization_config is None:
        return None
    from ksql.auth.authorizationconfig import NODE, RBAC, AuthorizationConfigError, read
    from ksql.auth.consulted import Consulted

    option = f"--authorization-config {str(settings.authorization_config)!r}"
    try:
        entries = read(settings.authorization_config.read_text())
    except (OSError, UnicodeDecodeError, AuthorizationConfigError) as error:
        raise SettingsError(f"{option}: {error}") from None
    made: dict[str, Authorizer] = {}
    for entry in entries:
        if entry.type not in (NODE, RBAC):
            remote = _remote(entry.kubeconfig, option, entry.seconds)
            stack.push_async_callback(remote.aclose)
            made[entry.name] = Consulted(entry.name, remote.ask, clock, entry.terms)

    def arrange(nodes: Authorizer, roles: Authorizer) -> Sequence[Authorizer]:
        own = {NODE: nodes, RBAC: roles}
        return [own.get(entry.type) or made[entry.name] for entry in entries]

    return arrange


def _remote(kubeconfig: Path, option: str, seconds: float) -> Remote:
    try:
        connection = load(kubeconfig)
        return Remote(connection.server, connection.ssl_context(), connection.headers(), seconds)
    except KubeconfigError as error:
        raise SettingsError(f"{option}: {error}") from None
