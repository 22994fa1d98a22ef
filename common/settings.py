"""Does: the settings of a producer and a consumer, read once at start, in one place, into frozen models.

Order: command line, environment, file, default. It is remembered where each value came from. Whatever is wrong is one
SettingError that names the setting as the person typed it. Knows nothing of what the settings are for.
"""

import re
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, SecretStr

from common.holds import HOLD_ALLOWED, HoldLimit, parse_hold
from common.hooks import HOOK_ALLOWED, Hook, parse_hook
from common.labels import LABELS_ALLOWED, parse_labels
from common.quantities import (
    ASIDE_ALLOWED,
    BANDWIDTH_ALLOWED,
    LISTEN_ALLOWED,
    MODE_ALLOWED,
    QUEUE_LIMIT_ALLOWED,
    SHARE_ALLOWED,
    SIZES_ALLOWED,
    TIMES_ALLOWED,
    AsideLimits,
    ListenAddress,
    parse_aside,
    parse_bandwidth_bytes,
    parse_listen,
    parse_mode,
    parse_queue_limit,
    parse_seconds,
    parse_share,
    parse_size_bytes,
)
from common.setting_kinds import (
    NAME_ALLOWED,
    PATH_ALLOWED,
    PATTERNS_ALLOWED,
    TIMEOUTS_ALLOWED,
    AbsolutePath,
    LogLevel,
    Name,
    OptionalPath,
    lower,
    optional,
    parse_broker,
    parse_interval_or_off,
    parse_patterns,
    parse_scan_interval,
    parse_timeout,
)
from common.transport.limits import QueueLimits
from common.transport.urls import ALLOWED as BROKER_ALLOWED
from common.wire.versions import FORMAT, LOWEST_WRITTEN

PREFIX = "TREECAST_"
OUTSIDE_SETTINGS = frozenset({"TREECAST_DEBUG"})
"""Variables of ours that are no settings."""

LOG_LIMIT_LEAST, LOG_LIMIT_MOST = 1000, 1_000_000_000


class About(NamedTuple):
    """What the settings table says of one setting. `shown_default`: where the default is no fixed text."""

    meaning: str
    allowed: str
    shown_default: str = ""


def _about(
    meaning: str,
    allowed: str,
    default: object = None,
    *,
    name: str | None = None,
    shown: str = "",
    is_secret: bool = False,
) -> Any:
    """A field that is a setting. Its default is what a person would type; `...` is none, the setting must be given."""
    extra: dict[str, Any] = {"about": About(meaning, allowed, shown)}
    return Field(default=default, alias=name, validate_default=True, json_schema_extra=extra, repr=not is_secret)


class CommonSettings(BaseModel):
    """What both roles are told. Built by `load_produce` and `load_consume`; tests may build one from texts or values."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    tree: Name = _about("The name of the tree, the same on the master and on every replica.", NAME_ALLOWED, ...)
    broker: Annotated[str, PlainValidator(parse_broker)] = _about(
        "The queue between producer and replicas: a file for one machine, RabbitMQ for several.",
        BROKER_ALLOWED,
        ...,
        is_secret=True,
    )
    broker_password_file: OptionalPath = _about(
        "A file that holds the broker's password, so that it stands in no URL.", "an absolute path of a readable file"
    )
    state: AbsolutePath = _about(
        "This process's own directory, on a disk of this machine and outside the tree; made (0700) when missing.",
        PATH_ALLOWED,
        ...,
        shown="`$STATE_DIRECTORY`, else `treecast/<tree>/<producer or replica>` in the user's state directory, "
        "or in `/var/lib` for root",
    )
    listen: Annotated[ListenAddress | None, optional(parse_listen)] = _about(
        "Where `/metrics`, `/status`, `/healthz` and `/readyz` answer, to whoever asks; off unless set.", LISTEN_ALLOWED
    )
    owner: Annotated[Literal["off", "numeric", "name"], BeforeValidator(lower)] = _about(
        "Owner and group: carried by a producer as numbers or as names, set by a consumer as they are carried (it needs "
        "CAP_CHOWN, or root).",
        "off, numeric or name",
        "off",
    )
    queue_limit: Annotated[QueueLimits, PlainValidator(parse_queue_limit)] = _about(
        "How much the embedded queue keeps for replicas that are away; RabbitMQ has policies for that.",
        QUEUE_LIMIT_ALLOWED,
        "1GiB,7d",
    )
    hold: Annotated[HoldLimit, PlainValidator(parse_hold)] = _about(
        "How many deletes within 10 minutes are let through: so many, or that share of the tree where it is more; never more "
        "than the second share of a tree of over 100 entries. The rest is held until a person releases it.",
        HOLD_ALLOWED,
        "5000,10%,50%",
    )
    log_level: LogLevel = _about("What is logged, to standard error.", "debug, info, warning or error", "info")
    log_format: Annotated[Literal["text", "json"], BeforeValidator(lower)] = _about(
        "How a log line is written.", "text or json", "text"
    )
    broker_password: SecretStr | None = Field(default=None, repr=False)
    """The content of `broker_password_file`; no setting of its own."""


class ProduceSettings(CommonSettings):
    """What a producer is told."""

    source: AbsolutePath = _about("The master's directory.", "an absolute path of a directory that is there", ...)
    exclude: Annotated[tuple[str, ...], PlainValidator(parse_patterns)] = _about(
        "What is no part of the tree, and so never touched on replicas: gitignore patterns, `!` for what is part of it after "
        "all. They travel with the tree.",
        PATTERNS_ALLOWED,
        (),
    )
    watch: Annotated[Literal["auto", "inotify", "observer", "scan"], BeforeValidator(lower)] = _about(
        "Where hints come from: the kernel, watchdog (for other systems), or scans alone.",
        "auto, inotify, observer or scan",
        "auto",
    )
    scan_interval_seconds: Annotated[float | None, optional(parse_scan_interval)] = _about(
        "How often the whole source is scanned.",
        TIMES_ALLOWED,
        name="scan_interval",
        shown="1h beside a watcher, else as often as 2 percent of a core allows",
    )
    settle_seconds: Annotated[float, PlainValidator(parse_seconds)] = _about(
        "How old a file that only a scan saw must be before it is read.", TIMES_ALLOWED, "2s", name="settle"
    )
    symlinks: Annotated[Literal["all", "safe", "skip"], BeforeValidator(lower)] = _about(
        "Which symlinks are carried: all, those that stay in the tree (each other one is a problem that is shown), or none.",
        "all, safe or skip",
        "all",
    )
    log_limit: Annotated[int, Field(ge=LOG_LIMIT_LEAST, le=LOG_LIMIT_MOST)] = _about(
        "How many changes the change log keeps, at 10 to 100 bytes each: for `treecast log`, and for replicas that were away.",
        f"{LOG_LIMIT_LEAST} to {LOG_LIMIT_MOST}",
        3_000_000,
    )
    large_limit_bytes: Annotated[int, PlainValidator(parse_size_bytes)] = _about(
        "The largest file that is carried; a larger one is a problem that is shown.",
        SIZES_ALLOWED,
        "1GiB",
        name="large_limit",
    )
    compare_interval_seconds: Annotated[float | None, PlainValidator(parse_interval_or_off)] = _about(
        "In how long the content of every file is read and compared, slowly, with what was published.",
        f"{TIMES_ALLOWED}, or off",
        "24h",
        name="compare_interval",
    )
    bandwidth_bytes: Annotated[int | None, PlainValidator(parse_bandwidth_bytes)] = _about(
        "How much answers (first copies, repairs, large files) may send in a second; live changes are never held back.",
        BANDWIDTH_ALLOWED,
        "off",
        name="bandwidth",
    )
    max_lag_seconds: Annotated[float, PlainValidator(parse_seconds)] = _about(
        "How far a replica may be behind before `treecast status` and the alerts call it so.",
        TIMES_ALLOWED,
        "120s",
        name="max_lag",
    )
    ready_floor: Annotated[float, PlainValidator(parse_share)] = _about(
        "Which share of all replicas must be ready before one may step out of service because it is behind.",
        SHARE_ALLOWED,
        "50%",
    )
    wire: Annotated[int | None, Field(ge=LOWEST_WRITTEN, le=FORMAT)] = _about(
        "Pins the format version of messages, for an upgrade in steps.",
        f"{LOWEST_WRITTEN} to {FORMAT}",
        shown="the lowest that all replicas read",
    )


class ConsumeSettings(CommonSettings):
    """What a consumer is told."""

    target: AbsolutePath = _about("The replica's directory.", "an absolute path of a directory that is there", ...)
    replica: Name = _about("The name of this replica, its own in the fleet.", NAME_ALLOWED, ..., shown="the host name")
    labels: Annotated[dict[str, str], PlainValidator(parse_labels)] = _about(
        "What this replica is, for `-l` of status and wait, and for metrics: `region=eu,role=web`.", LABELS_ALLOWED, ""
    )
    ephemeral: bool = _about(
        "This replica may go without a word (a pod, an autoscaled machine): it is forgotten 10 minutes after its last report, "
        "its queue with it, and counts only while it speaks.",
        "true or false",
        False,
    )
    protect: Annotated[tuple[str, ...], PlainValidator(parse_patterns)] = _about(
        "What is never touched on this replica, beside what the tree excludes: gitignore patterns.",
        PATTERNS_ALLOWED,
        (),
    )
    foreign: Annotated[Literal["aside", "delete", "keep"], BeforeValidator(lower)] = _about(
        "What becomes of files that somebody else puts into the replica. What gives way to a published path, and what an "
        "adoption finds, goes aside in any case.",
        "aside, delete or keep",
        "aside",
    )
    aside: Annotated[AsideLimits, PlainValidator(parse_aside)] = _about(
        "How long, and in which share of the free space, what was set aside is kept; the oldest goes first.",
        ASIDE_ALLOWED,
        "7d,50%",
    )
    adopt: bool = _about(
        "Take over a target that holds files and is not ours yet: equal files are kept, others set aside for 7 days.",
        "true or false",
        False,
    )
    scrub_interval_seconds: Annotated[float | None, PlainValidator(parse_interval_or_off)] = _about(
        "In how long everything on the disk is read again, slowly, and what differs is repaired.",
        f"{TIMES_ALLOWED}, or off",
        "24h",
        name="scrub_interval",
    )
    on_applied: Annotated[Hook | None, optional(parse_hook)] = _about(
        "What is told of changed paths whenever the replica is consistent: a command, on its standard input, or a URL, with a "
        "POST. See docs/hooks.md.",
        HOOK_ALLOWED,
        is_secret=True,
    )
    on_applied_timeout_seconds: Annotated[float, PlainValidator(parse_timeout)] = _about(
        "How long that may take; then it is ended with all that it started, and tried again.",
        TIMEOUTS_ALLOWED,
        "5m",
        name="on_applied_timeout",
    )
    ready_max_lag_seconds: Annotated[float | None, PlainValidator(parse_interval_or_off)] = _about(
        "How far behind this replica may know itself to be and still say that it is ready. It steps out of service only while "
        "enough others are ready (`ready_floor` of the producer), and never because nothing is heard.",
        f"{TIMES_ALLOWED}, or off",
        "off",
        name="ready_max_lag",
    )
    change_log: OptionalPath = _about(
        "A file that gets one line for each path that changes on this replica's disk; it may be rotated.",
        "an absolute path outside the tree, in a directory that is there",
    )

    dir_mode: Annotated[int | None, optional(parse_mode)] = _about(
        "The mode of every directory of this replica, instead of the master's.", MODE_ALLOWED, shown="the master's"
    )
    file_mode: Annotated[int | None, optional(parse_mode)] = _about(
        "The mode of every file of this replica, instead of the master's.", MODE_ALLOWED, shown="the master's"
    )
    group: Annotated[str | None, Field(min_length=1)] = _about(
        "The group of everything in this replica.",
        "a group that the consumer's user is in, or any with CAP_CHOWN; a name or a number",
        shown="the consumer's own",
    )


Role = Literal["produce", "consume"]
S = TypeVar("S", bound=CommonSettings)
"""The settings of either role."""
MODELS: Mapping[str, type[CommonSettings]] = {"produce": ProduceSettings, "consume": ConsumeSettings}


class Setting(NamedTuple):
    """One setting as people know it: `name` is its key in a file."""

    name: str
    about: About
    default: object
    """What a person would type for it; `...` when it must be given or is worked out."""

    @property
    def is_required(self) -> bool:
        return self.default is ... and not self.about.shown_default

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def option(self) -> str:
        return "--" + self.name.replace("_", "-")


def settings_of(model: type[CommonSettings]) -> dict[str, Setting]:
    """The settings of a model, by name, in the order in which they are declared."""
    found = {}
    for field, info in model.model_fields.items():
        if isinstance(info.json_schema_extra, dict):
            name = info.alias or field
            default = ... if info.is_required() else info.default
            found[name] = Setting(name, info.json_schema_extra["about"], default)  # type: ignore[arg-type]
    return found


def default_replica() -> str:
    """The host's name made to fit a replica's; may be unfit still (empty)."""
    return re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower())[:63].strip("-")
