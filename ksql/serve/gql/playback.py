"""GraphQL's hand on a playback: where the needle is, and play, pause, step, seek and speed.

Every server has the fields; on one that plays nothing the question answers null and a wish is refused.
"""

from typing import Annotated

import strawberry

from ksql.history.playback import PlaybackError, Player, Progress
from ksql.serve.gql.context import Context
from ksql.serve.gql.errors import refusal
from ksql.serve.gql.fields import about, changing, resolved
from ksql.serve.gql.nodes import Info
from ksql.serve.gql.scalars import Moment, Revision, Timestamp

# Events of one step: more than anybody follows with the eye.
STEP_EVENTS_MAX = 10_000


@strawberry.type(description="A recording that is being played on this server.")
class Playback:
    revision: Revision = strawberry.field(description="The newest event that has happened so far.")
    time: Timestamp = strawberry.field(description="The instant that is played now.")
    first: Revision = strawberry.field(description="Where the recording begins.")
    last: Revision = strawberry.field(description="Where it ends.")
    begins: Timestamp = strawberry.field(description="The instant of its beginning.")
    ends: Timestamp = strawberry.field(description="The instant of its end.")
    speed: float = strawberry.field(description="How many times as fast as it was.")
    playing: bool = strawberry.field(description="Whether time goes by; false while it is paused.")
    ended: bool = strawberry.field(description="Whether all has happened.")


@strawberry.type
class Watching:
    @resolved("The recording that is being played; null on a server that plays none.")
    def playback(self, info: Info) -> Playback | None:
        player = info.context.rooms.player
        return None if player is None else _shown(player.progress)


@strawberry.type
class Playing:
    @changing("Let time go by, from where the playback is.")
    def play(self, info: Info) -> Playback:
        player = _player(info.context)
        player.play()
        return _shown(player.progress)

    @changing("Let time stand still.")
    def pause(self, info: Info) -> Playback:
        player = _player(info.context)
        player.pause()
        return _shown(player.progress)

    @changing("Pause, and let the next events happen.")
    async def step(
        self, info: Info, events: Annotated[int, about(f"How many, at most {STEP_EVENTS_MAX}.")] = 1
    ) -> Playback:
        player = _player(info.context)
        if events > STEP_EVENTS_MAX:
            raise refusal(f"a step has at most {STEP_EVENTS_MAX} events: seek instead")
        try:
            await player.step(events)
        except PlaybackError as error:
            raise refusal(str(error)) from None
        return _shown(player.progress)

    @changing("Put the playback at a moment of its recording, forwards or backwards; watches end and begin again.")
    async def seek(
        self, info: Info, to: Annotated[Moment, about("A revision or a time of the recording.")]
    ) -> Playback:
        player = _player(info.context)
        try:
            await player.seek_to(to, info.context.zone)
        except PlaybackError as error:
            raise refusal(str(error)) from None
        return _shown(player.progress)

    @changing("Play faster or slower.")
    def set_speed(
        self, info: Info, times: Annotated[float, about("10 is ten times as fast as it was, 0.5 half as fast.")]
    ) -> Playback:
        player = _player(info.context)
        try:
            player.speed(times)
        except PlaybackError as error:
            raise refusal(str(error)) from None
        return _shown(player.progress)


def _player(ctx: Context) -> Player:
    player = ctx.rooms.player
    if player is None:
        raise refusal("this server plays no recording: start one with ksql replay FILE", "NOT_FOUND")
    # Time is everybody's on such a server: whoever may read all of it may move it.
    ctx.require("watch", "*.*")
    return player


def _shown(progress: Progress) -> Playback:
    return Playback(
        revision=Revision(progress.revision), time=Timestamp(progress.time), first=Revision(progress.first),
        last=Revision(progress.last), begins=Timestamp(progress.begins),
        ends=Timestamp(progress.ends), speed=progress.speed,
        playing=progress.playing, ended=progress.ended,
    )  # fmt: skip
