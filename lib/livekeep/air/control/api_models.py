"""The models of the API for pydantic 1.10 and 2, which check bodies and responses, and from which OpenAPI is generated.

Only core.channels.decode checks a channel's keys, so that livekeep.toml and the API have one set of rules; the schema below is
made from the same checks.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Optional

import pydantic

from livekeep.core import channels, config
from livekeep.core.channels import ChannelEnd, ChannelState, Played
from livekeep.core.checks import Check, Each, IngestUrl, OneOf, Pattern, Range, VideoId
from livekeep.core.config import CHANNEL_NAME, Channel

IS_PYDANTIC_1 = pydantic.VERSION.startswith("1.")
NAME_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{CHANNEL_NAME.pattern}$", "example": "main"}
INGEST_PATTERN = r"^[rR][tT][mM][pP][sS]?://[A-Za-z0-9_.-]+(:[0-9]{1,5})?(/[!-~]*)?$"
"""The pattern of `IngestUrl` without flags, which JSON Schema doesn't support."""
MEANINGS = {
    "media": 'What is played: a folder such as "/srv/media", or "s3://bucket/prefix".',
    "order": "In which order the items are played.",
    "loop": "Whether the playlist begins again at its end.",
    "extensions": "Which files are media, by the ends of their names.",
    "rescan_seconds": "How often media is listed again.",
    "ingest_urls": "Where to: the primary server and at most one backup. The stream key is a credential, not a part of them.",
    "width": "Of the picture, in pixels; even.",
    "height": "Of the picture, in pixels; even.",
    "frame_rate": "Pictures a second.",
    "video_bitrate": "In bit/s.",
    "audio_bitrate": "In bit/s.",
    "keyframe_seconds": "Between two keyframes.",
    "copy": "Whether an item that has just the channel's form is copied; never: each is encoded, all with the same headers.",
    "preset": "How much processor time goes into quality, when an item is encoded.",
    "slate": "The image or video for the time when nothing can be played.",
    "rotate_hours": "A planned reconnect after so many hours; 0 for none.",
    "youtube_video": "The id of the broadcast's video at YouTube, which is asked whether it shows it; empty for not.",
}
EXAMPLE = {"media": "/srv/media", "ingest_urls": ["rtmps://a.rtmps.youtube.com/live2"]}


def schema_of(entry: dataclasses.Field[Any]) -> dict[str, Any]:
    """The JSON Schema of one key, from its check."""
    check, default = entry.metadata["check"], entry.default
    about = {"description": MEANINGS[entry.name], "default": list(default) if isinstance(default, tuple) else default}
    if not isinstance(check, Each):
        return about | limits_of(check, default) | ({"multipleOf": 2} if entry.name in ("width", "height") else {})
    one = limits_of(check.check, "")
    most = {"maxItems": config.MOST_INGESTS} if isinstance(check.check, IngestUrl) else {}
    return about | {"anyOf": [{"type": "array", "items": one, "minItems": 1 if default else 0, **most}, one]}


def limits_of(check: Check | None, default: Any) -> dict[str, Any]:
    """The JSON Schema limits of values like `default` that `check` accepts."""
    match check:
        case None:
            return {"type": "boolean"}
        case Range(low, high):
            return {"type": "integer" if isinstance(default, int) else "number", "minimum": low, "maximum": high}
        case OneOf(choices):
            return {"type": "string", "enum": list(choices)}
        case IngestUrl():
            return {"type": "string", "pattern": INGEST_PATTERN, "maxLength": check.longest_bytes}
        case Pattern() | VideoId():
            return {"type": "string", "pattern": f"^({check.regex})$"}
    raise TypeError(f"there is no JSON Schema for {check}")


KEYS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A channel's keys, as below [channels.NAME] in livekeep.toml; each may be left out.",
    "properties": {entry.name: schema_of(entry) for entry in dataclasses.fields(Channel)},
    "additionalProperties": False,
    "example": EXAMPLE,
}


class Checked:
    """A type that pydantic 1 and 2 check with `check` and describe by `SCHEMA`; `check` returns its values."""

    SCHEMA: typing.ClassVar[dict[str, Any]]

    @classmethod
    def check(cls, value: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def __get_validators__(cls) -> Iterator[Callable[[Any], Any]]:
        yield cls.check

    @classmethod
    def __modify_schema__(cls, schema: dict[str, Any]) -> None:
        schema.update(cls.SCHEMA)

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        # pydantic 1 doesn't have it.
        from pydantic_core import core_schema  # noqa: PLC0415

        return core_schema.no_info_plain_validator_function(cls.check)

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        return {key: value for key, value in cls.SCHEMA.items() if key != "nullable"}


class ChannelName(Checked, str):
    SCHEMA = NAME_SCHEMA

    @classmethod
    def check(cls, value: Any) -> str:
        if not isinstance(value, str) or not CHANNEL_NAME.fullmatch(value):
            raise ValueError("must be a channel's name: small letters, digits, - and _, 32 at most")
        return value


class ChannelKeys(Checked, dict[str, Any]):
    SCHEMA = KEYS_SCHEMA

    @classmethod
    def check(cls, value: Any) -> dict[str, Any]:
        built = channels.decode(value)
        # Keys for one URL can be empty; core also allows empty strings in lists of URLs.
        if "" in built.ingest_urls:
            raise ValueError("ingest_urls: must be URLs, one is empty")
        return dict(value)


class MaybeName(ChannelName):
    """In a body that may leave it out, or say null."""

    SCHEMA = NAME_SCHEMA | {"nullable": True}


class MaybeKeys(ChannelKeys):
    SCHEMA = KEYS_SCHEMA | {"nullable": True}


class Strict(pydantic.BaseModel):  # type: ignore[misc]  # mypy does not see pydantic
    """Unknown fields are faults."""

    if IS_PYDANTIC_1:

        class Config:
            extra = "forbid"

    else:
        model_config = {"extra": "forbid"}


class StopBody(Strict):
    channel: Optional[MaybeName] = None  # noqa: UP045 – pydantic 1 wants this form


class StartBody(StopBody):
    stream_config: Optional[MaybeKeys] = None  # noqa: UP045


# Responses


def field(default: Any, is_optional: bool = False, description: str = "") -> Any:
    """A response field. pydantic 1 doesn't record by itself that a field can be null."""
    more: dict[str, Any] = {"nullable": True} if is_optional and IS_PYDANTIC_1 else {}
    return pydantic.Field(default, description=description or None, **more)


def maybe(kind: Any) -> Any:
    """`kind` or null, in the form that pydantic 1 requires."""
    return Optional[kind]  # noqa: UP045


def many(kind: Any) -> Any:
    return list[kind]


def model_of(kind: type) -> Any:
    """A pydantic model with the fields of a dataclass of core."""
    hints = typing.get_type_hints(kind)
    fields = {}
    for entry in dataclasses.fields(kind):
        hint = typed(hints[entry.name])
        is_optional = typing.get_origin(hint) is typing.Union
        fields[entry.name] = (hint, field(..., is_optional))
    return pydantic.create_model(kind.__name__, **fields)


def typed(hint: Any) -> Any:
    """An annotation of core in pydantic's form: dataclasses as models, tuples as lists, "or None" as Optional."""
    if hint is Played:
        return ITEM
    if typing.get_origin(hint) is tuple:
        return many(typed(typing.get_args(hint)[0]))
    if typing.get_origin(hint) is types.UnionType:
        return maybe(typed(typing.get_args(hint)[0]))
    return hint


ITEM = model_of(Played)
STATE = model_of(ChannelState)
END = model_of(ChannelEnd)
UNIT = pydantic.create_model(
    "Unit",
    name=(str, field(..., description="The worker's unit.")),
    active=(str, field(..., description="systemd's ActiveState: active, activating, deactivating, inactive, failed …")),
    sub=(str, field(..., description="systemd's SubState: running, auto-restart, dead, failed …")),
    pid=(maybe(int), field(..., is_optional=True)),
    restarts=(
        maybe(int),
        field(..., is_optional=True, description="By systemd itself, since it was last started by somebody."),
    ),
    result=(str, field(..., description="How it last ended: success, exit-code, signal, watchdog …")),
    exit_status=(maybe(int), field(..., is_optional=True)),
)
STATUS = pydantic.create_model(
    "ChannelStatus",
    channel=(str, field(...)),
    configured_by=(maybe(str), field(..., is_optional=True, description='"livekeep.toml", "api", or null when it is gone.')),
    intended=(bool, field(..., description="Whether it is meant to be on air, after a reboot too.")),
    on_air=(bool, field(..., description="Whether the ingest acknowledges what it is sent, within the last seconds.")),
    unit=(UNIT, field(...)),
    state=(maybe(STATE), field(..., is_optional=True, description="What the worker says; null when it does not run.")),
    last_end=(maybe(END), field(..., is_optional=True, description="How it last ended since the machine started.")),
    problems=(list[str], field(..., description="What is wrong, one sentence each.")),
)
STATUSES = pydantic.create_model("Statuses", channels=(many(STATUS), field(...)))
ITEMS = pydantic.create_model(
    "Items",
    channel=(str, field(...)),
    running=(bool, field(...)),
    picture=(maybe(str), field(..., is_optional=True, description='"item" or "slate".')),
    now=(maybe(ITEM), field(..., is_optional=True)),
    next=(maybe(ITEM), field(..., is_optional=True)),
    last=(many(ITEM), field(..., description="The newest first.")),
)
SKIPPED = pydantic.create_model(
    "Skipped",
    channel=(str, field(...)),
    skipped=(maybe(ITEM), field(..., is_optional=True, description="What was played till now.")),
    next=(maybe(ITEM), field(..., is_optional=True)),
)
CONFIGURED = pydantic.create_model(
    "ConfiguredChannel",
    channel=(str, field(...)),
    configured_by=(str, field(..., description='"livekeep.toml" or "api".')),
    config=(dict[str, Any], field(..., description="All keys, defaults too; an ingest's URL is cut behind its application.")),
    problems=(list[str], field(...)),
)
CHANNELS = pydantic.create_model("Channels", channels=(many(CONFIGURED), field(...)))
HEALTH = pydantic.create_model(
    "Health",
    status=(typing.Literal["ok", "degraded", "down"], field(...)),
    version=(str, field(...)),
)
ERROR = pydantic.create_model(
    "Error",
    type=(str, field(..., description="A short word for programs.")),
    message=(str, field(..., description="A sentence for people: what is wrong, and what to do.")),
    field=(maybe(str), field(None, is_optional=True, description="Which field is at fault.")),
)
ERROR_ANSWER = pydantic.create_model(
    "ErrorAnswer",
    error=(ERROR, field(...)),
    request_id=(str, field(..., description="As in the header X-Request-ID and in the journal.")),
)
