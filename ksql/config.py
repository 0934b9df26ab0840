"""Wiring only: from settings to a running cluster in one process, and back down in order.

Log, state and pipeline come first and are enough to serve reads; the door opens next; controllers,
scheduler and nodes last, since they are clients like any other. Closing walks the same way back, so
that the last writes of the worker wing still find a log.
"""

import asyncio
import gc
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import NamedTuple

from starlette.types import ASGIApp

from ksql import addons, auditing, believing, encryption
from ksql.audit.journal import Journal
from ksql.auth import pki, sessionfile
from ksql.auth.authenticate import Authenticator, admin_tokens, administrator
from ksql.auth.tokens import Tokens
from ksql.base.clock import Clock, new_uid, rfc3339, to_microseconds
from ksql.base.tasks import Tasks
from ksql.control.supervisor import Controllers
from ksql.hold import NODES_LOCK, FileHold, Holder, PostgreSQLHold
from ksql.log import sealkeys
from ksql.log.migrate import migrate
from ksql.log.protocol import EventLog
from ksql.log.sealer import Sealer
from ksql.log.store import SqlEventLog, open_log
from ksql.log.witnesses import Witness
from ksql.node import machine
from ksql.node.fleet import Fleet
from ksql.retaining import Keeper, Retainer, rules_of
from ksql.schema import catalogue as catalogues
from ksql.schema.catalogue import Catalogue
from ksql.serve import aggregationkeeping, flowkeeping, keyfigures, logfigures, nodemetrics
from ksql.serve.aggregation import Aggregator
from ksql.serve.app import create_app
from ksql.serve.custodian import Custodian
from ksql.serve.gql.figures import Figures
from ksql.serve.late import Late
from ksql.serve.listen import Listener
from ksql.serve.ports import advertised
from ksql.serve.revoking import guard
from ksql.serve.webhooks import Webhooks
from ksql.settings import Settings
from ksql.state.objects import Objects
from ksql.verbs import bootstrap, roles
from ksql.verbs.local import connect
from ksql.verbs.permissions import Permissions
from ksql.verbs.pipeline import Pipeline

logger = logging.getLogger(__name__)

# Producers, the log's writer and the loop share one interpreter. CPython hands it over every 5 ms by
# default, which is longer than a whole commit; a tenth of that shortens the tails a little.
SWITCH_SECONDS = 0.0005
# Allocations before the youngest generation is collected, and how many of those before the next ones.
COLLECTOR_THRESHOLDS = (50_000, 20, 50)


@contextmanager
def holding(settings: Settings, clock: Clock, *, serves: bool = False) -> Iterator[None]:
    """Hold the data directory and the database; `HeldError` says who has them.

    Who `serves` shares a PostgreSQL database with other servers, and has its simulated nodes for itself.
    """
    holder = Holder.of_this_process(settings.listen, rfc3339(clock.now()))
    with ExitStack() as stack:
        stack.enter_context(FileHold(settings.data / "lock", holder))
        if settings.file is None:
            stack.enter_context(PostgreSQLHold(settings.url, holder, shares=serves))
            if serves and settings.nodes:
                what = "with --nodes 0 this server can join; the database's simulated nodes are"
                stack.enter_context(PostgreSQLHold(settings.url, holder, lock=NODES_LOCK, what=what))
        elif settings.database:
            stack.enter_context(FileHold(settings.file.with_name(settings.file.name + ".lock"), holder))
        yield


class Ready(NamedTuple):
    """Where a cluster is, and what logs its administrator in with a browser, once."""

    url: str
    code: str


@asynccontextmanager
async def cluster(settings: Settings, clock: Clock) -> AsyncIterator[Ready]:
    """Bring a cluster up, yield where it is once it is ready, and bring it down again."""
    sys.setswitchinterval(SWITCH_SECONDS)
    async with AsyncExitStack() as stack:
        # What start-up makes is there to stay: looking for garbage in it took a quarter of the time.
        gc.disable()
        stack.callback(gc.enable)
        catalogue = catalogues.load(settings.minor)
        # Before the log: the connection to its database may need a certificate.
        custodian = Custodian(settings.keys, settings.address[0], clock)
        log, objects, sealer = await _opened(settings, clock, stack)
        tokens = Tokens(custodian.keys.accounts_key, clock, objects.document)
        authenticator = Authenticator(clock, {}, tokens, trust=custodian.trust)
        custodian.listen(lambda keys: authenticator.replace_tokens(admin_tokens(keys.token)))
        await believing.authentication(settings, authenticator, clock, stack)
        arrange = believing.authorization(settings, clock, stack)
        webhooks = Webhooks(objects, clock)
        stack.push_async_callback(webhooks.aclose)
        pipeline = Pipeline(
            log, objects, catalogue, Permissions(objects, arrange), clock, authenticator=authenticator,
            converter=webhooks, caller=webhooks, standards=settings.standards,
        )
        auditor = await auditing.start(settings.audit, log, clock, pipeline.authorizer, stack)
        assert isinstance(log, SqlEventLog)
        retainer = Retainer(log, pipeline, sealer.key, clock)
        counted = Figures()
        graphql = Late(lambda: _graphql(settings, counted, pipeline, log, clock, auditor.journal, retainer, custodian))
        fleet = Fleet(machine.machines(settings.nodes, f"v{settings.minor}.0"), connect(pipeline), clock)
        webhooks.nodes = fleet
        aggregator = Aggregator(objects, clock, custodian.proxy_context)
        metrics = nodemetrics.NodeMetrics(objects, fleet, clock)
        aggregator.answer(nodemetrics.GROUP, nodemetrics.VERSION, nodemetrics.RESOURCES, metrics.serve)
        sessions = sessionfile.opened(settings.data / "sessions.json", clock)
        door = create_app(
            pipeline, objects, log, catalogue, authenticator, clock, graphql=graphql, nodes=fleet,
            aggregator=aggregator, auditor=auditor, sessions=sessions,
        )  # fmt: skip
        believing.login(settings, door, authenticator, clock)
        waiting = "the cluster is being brought up"
        door.add_check("bring-up", lambda: waiting)
        listener = Listener(door, *settings.address, custodian.server_context(), on_stop=door.close)
        await listener.start()
        stack.push_async_callback(listener.aclose)
        custodian.listen(lambda keys: pki.write_kubeconfig(settings.kubeconfig, keys, listener.url))
        where = advertised(settings.address[0])
        await bootstrap.bootstrap(pipeline, target_port=listener.port, address=where)
        await roles.reconcile(pipeline)
        extensions = aggregationkeeping.keeper(pipeline, clock, aggregator, lambda: custodian.keys)
        for keeper in (flowkeeping.keeper(pipeline, clock), extensions):
            await keeper.start()
            stack.push_async_callback(keeper.aclose)
        await aggregator.start()
        stack.push_async_callback(aggregator.aclose)
        await addons.add_storage(pipeline)
        if settings.dns:
            await addons.add_dns(pipeline)
        controllers = await _workers(settings, clock, catalogue, pipeline, custodian, fleet, stack)
        pipeline.components |= controllers.checks()
        door.metrics.add(controllers.kit.metrics.registry.collect)
        door.metrics.add(lambda: logfigures.seals(sealer))
        door.metrics.add(lambda: logfigures.audit(auditor))
        door.metrics.add(counted.collect)
        _retain(settings, retainer, clock, stack)
        door.metrics.add(lambda: keyfigures.figures(custodian, clock))
        await guard(custodian, objects, listener, clock, stack, sessions)
        custodian.listen(lambda keys: extensions.wake())
        waiting = ""
        # What start-up made lives as long as the process: the collector need never look at it again. What
        # comes after is mostly documents, which have no cycles; looking for some less often gave back half
        # of the sixth of all CPU that the collector took while 10,000 pods were brought up.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        gc.enable()
        tasks = Tasks()
        tasks.start("GraphQL", graphql.warm())
        stack.push_async_callback(tasks.aclose)
        yield Ready(listener.url, sessions.code(administrator()))
        logger.info("stopping")


def _retain(settings: Settings, retainer: Retainer, clock: Clock, stack: AsyncExitStack) -> None:
    """Let old events go by the operator's rules, if there are any."""
    if settings.retention is None:
        return
    keeper = Keeper(retainer, rules_of(settings.retention), clock)
    keeper.start()
    stack.push_async_callback(keeper.aclose)


def _graphql(
    settings: Settings, figures: Figures, pipeline: Pipeline, log: EventLog, clock: Clock, journal: Journal,
    retainer: Retainer, custodian: Custodian,
) -> ASGIApp:  # fmt: skip
    from ksql.serve.gql.app import graphql_app

    return graphql_app(
        pipeline, pipeline.objects, log, pipeline.catalogue, clock, journal, retirer=retainer,
        keys=lambda: custodian.keys, bounds=settings.bounds, figures=figures,
    )  # fmt: skip


async def _opened(settings: Settings, clock: Clock, stack: AsyncExitStack) -> tuple[EventLog, Objects, Sealer]:
    """The log, its schema as this version wants it, and the state folded from it."""
    settings.data.mkdir(parents=True, exist_ok=True)
    if settings.migrates:
        await asyncio.to_thread(migrate, settings.url)
    vault = encryption.vault_of(settings, makes=True)
    log, objects = open_log(settings.url, clock, archives=settings.archives, vault=vault), Objects(clock)
    log.fold_into(objects.fold)
    sealer = _sealer(log, settings, clock)
    await log.open()
    stack.push_async_callback(log.aclose)
    await sealer.start()
    stack.push_async_callback(sealer.aclose)
    assert isinstance(log, SqlEventLog)
    rotation = encryption.Rotation(log, settings, clock)
    rotation.start()
    stack.push_async_callback(rotation.aclose)
    started = clock.monotonic()
    await objects.load(log)
    seconds = round(clock.monotonic() - started, 3)
    logger.info("state loaded", extra={"revision": log.head, "seconds": seconds})
    return log, objects, sealer


def _sealer(log: EventLog, settings: Settings, clock: Clock) -> Sealer:
    """Seals the log with the key outside of the database, before witnesses outside of it too."""
    assert isinstance(log, SqlEventLog)
    key = sealkeys.establish(settings.seal_key_file, to_microseconds(clock.now()))
    sealer = Sealer(log, key, clock, [Witness(one) for one in (str(settings.seal_witness), *settings.seal_witnesses)])
    log.fold_into(sealer.fold)
    return sealer


def _identity(settings: Settings, clock: Clock) -> str:
    """The name under which this server leads controllers: its data directory's, so that a restart finds its leases."""
    path = settings.data / "identity"
    if not path.exists():
        path.write_text(f"{socket.gethostname()[:40].lower()}-{new_uid(clock)[:8]}\n")
    return path.read_text().strip()


async def _workers(
    settings: Settings,
    clock: Clock,
    catalogue: Catalogue,
    pipeline: Pipeline,
    custodian: Custodian,
    fleet: Fleet,
    stack: AsyncExitStack,
) -> Controllers:
    """Controllers, scheduler and simulated nodes: clients of the pipeline, as if they were elsewhere."""
    doors = connect(pipeline)
    root_ca = custodian.keys.bundle(pki.SERVING).decode()
    controllers = Controllers(
        doors, clock, catalogue=catalogue, root_ca=root_ca, scheduling=settings.scheduling, usages=fleet.usages,
        signers=custodian.signing, revoked=custodian.revoked,
        identity=_identity(settings, clock) if settings.file is None else "",
    )  # fmt: skip
    await controllers.start()
    stack.push_async_callback(controllers.aclose)
    custodian.listen(lambda keys: controllers.publish_root(keys.bundle(pki.SERVING).decode()))
    await fleet.start()
    stack.push_async_callback(fleet.aclose)
    return controllers
