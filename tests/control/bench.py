"""Log, pipeline and informers on virtual time, without any built-in controller: a place to run one alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ksql.auth.authorize import AdminAuthorizer
from ksql.auth.identity import controller_user
from ksql.base.clock import VirtualClock, run_virtual
from ksql.client import Client
from ksql.control.controller import Controller, Kit
from ksql.control.informer import Informers
from ksql.control.plan import Plan
from ksql.log.store import open_log
from ksql.schema import catalogue
from ksql.state.objects import Objects
from ksql.verbs import bootstrap
from ksql.verbs.local import connect
from ksql.verbs.pipeline import Pipeline


class Bench:
    """Log, pipeline and informers, without any built-in controller."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.log = open_log("sqlite://", clock, inline=True)
        self.objects = Objects(clock)
        self.pipeline = Pipeline(self.log, self.objects, catalogue.load(), AdminAuthorizer(), clock)
        self.connect = connect(self.pipeline)
        self.user = controller_user("tester")
        self.client: Client = self.connect(self.user, "tester")
        self.informers = Informers(self.client, clock)
        self.kit = Kit(self.connect, clock, self.informers)
        self.tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self.log.fold_into(self.objects.fold)
        await self.log.open()
        await bootstrap.bootstrap(self.pipeline)
        self.informers.of("configmaps")
        self.informers.start()
        await self.informers.synced()

    def run(self, think: Callable[[str], Awaitable[Plan]], **more: Any) -> Controller:
        maps = self.informers.of("configmaps")
        controller = self.kit.controller("tester", self.user, think, (maps,), **more)
        self.tasks.append(asyncio.create_task(controller.run()))
        return controller

    async def aclose(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.informers.aclose()
        await self.log.aclose()


def benched(story: Callable[[Bench], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        bench = Bench(clock)
        await bench.open()
        try:
            await story(bench)
        finally:
            await bench.aclose()

    run_virtual(main)
