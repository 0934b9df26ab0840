"""One request, whoever sends it: what the doors hand to the pipeline and what they get back.

REST, GraphQL, controllers and nodes all make a `Request`; `Pipeline.perform` answers single-object
verbs with a `Result`, `Pipeline.page` a list, `Pipeline.watch` a feed of frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ksql.auth.identity import User
from ksql.base.documents import Document
from ksql.schema.repeats import Repeats
from ksql.schema.resources import ResourceType
from ksql.state.entry import Entry


@dataclass(frozen=True, slots=True)
class Options:
    """The query parameters and DeleteOptions that change what a write does."""

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = "Ignore"  # Ignore, Warn, Strict
    force: bool = False  # apply only
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None  # Background, Foreground, Orphan
    orphan_dependents: bool | None = None  # the older way to say Orphan or Background
    precondition_uid: str | None = None
    precondition_resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Who wants what done to which object.

    `body` is the parsed document (create, update), the patch (patch, apply) or None. `patch_type` is json,
    merge, strategic or apply. `cause` is believed only from controllers and nodes; the door checks that.
    """

    user: User
    verb: str  # get, list, watch, create, update, patch, delete, deletecollection
    type: ResourceType
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    body: Any = None
    patch_type: str = ""
    options: Options = field(default_factory=Options)
    cause: int | None = None
    correlation: str = ""
    user_agent: str = ""
    source: str = ""
    warnings: list[str] = field(default_factory=list)  # what the pipeline wants the caller to be told
    annotations: dict[str, str] = field(default_factory=dict)  # what guards want in the audit trail
    repeats: Repeats | None = None  # what the text of the body says twice
    wanted: list[Any] = field(default_factory=list)  # the object as its author last wanted it, for refusals


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects a list, watch or deletecollection means, and how much of them."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0  # 0: no limit
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The object after the request. `document` stands for answers that are no stored object (Scale, Status,
    dry runs); otherwise `entry` holds the bytes. `created` tells 201 from 200; `deleted` that it is gone."""

    entry: Entry | None = None
    document: Document | None = None
    created: bool = False
    deleted: bool = False
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A list at one snapshot, ordered by namespace and name."""

    entries: Sequence[Entry]
    revision: int
    continue_token: str = ""
    remaining: int | None = None
