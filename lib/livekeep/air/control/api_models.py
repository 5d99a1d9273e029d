"""The models of the API for pydantic 1.10 and 2, which check bodies and responses, and from which OpenAPI is generated.

Only core.channels.decode checks a channel's keys, so that livekeep.toml and the API have one set of rules; the schema below is
made from the same checks.
"""

import dataclasses
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pydantic

from livekeep.core import channels, config
from livekeep.core.checks import Check, Each, IngestUrl, OneOf, Pattern, Range, VideoId
from livekeep.core.config import CHANNEL_NAME, Channel

INGEST_PATTERN = r"^[rR][tT][mM][pP][sS]?://[A-Za-z0-9_.-]+(:[0-9]{1,5})?(/[!-~]*)?$"
"""The pattern of `IngestUrl` without flags, which JSON Schema doesn't support."""
MEANINGS = {
    "media": 'The files to play: a folder such as "/srv/media", or "s3://bucket/prefix".',
    "order": "The order in which the items are played.",
    "loop": "Whether the playlist starts again at its end.",
    "extensions": "The file name extensions of media.",
    "rescan_seconds": "How often the media are listed again.",
    "ingest_urls": "The primary ingest and at most one backup. The stream key is a credential, not a part of the URL.",
    "width": "Width of the picture in pixels; even.",
    "height": "Height of the picture in pixels; even.",
    "frame_rate": "Frames per second.",
    "video_bitrate": "In bit/s.",
    "audio_bitrate": "In bit/s.",
    "keyframe_seconds": "Time between two keyframes.",
    "copy": "Whether items that already have the channel's format are copied. never: all are transcoded, with the same headers.",
    "preset": "The x264 preset: how much CPU time transcoding spends on quality.",
    "slate": "The image or video that is shown while nothing can be played.",
    "rotate_hours": "Hours between planned reconnects; 0 for none.",
    "youtube_video": "The id of the broadcast's video on YouTube, to check whether YouTube shows it; empty for no check.",
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
        return {**cls.SCHEMA}


class ChannelName(Checked, str):
    SCHEMA: typing.ClassVar[dict[str, Any]] = {"type": "string", "pattern": f"^{CHANNEL_NAME.pattern}$", "example": "main"}

    @classmethod
    def check(cls, value: Any) -> str:
        if not isinstance(value, str) or not CHANNEL_NAME.fullmatch(value):
            raise ValueError("must be a channel's name: small letters, digits, - and _, 32 at most")
        return value


class ChannelKeys(Checked, dict[str, Any]):
    SCHEMA: typing.ClassVar[dict[str, Any]] = {
        "type": "object",
        "description": "A channel's keys, as below [channels.NAME] in livekeep.toml; all are optional.",
        "properties": {entry.name: schema_of(entry) for entry in dataclasses.fields(Channel)},
        "additionalProperties": False,
        "example": EXAMPLE,
    }

    @classmethod
    def check(cls, value: Any) -> dict[str, Any]:
        built = channels.decode(value)
        # Keys for one URL can be empty; core also allows empty strings in lists of URLs.
        if "" in built.ingest_urls:
            raise ValueError("ingest_urls: must be URLs, one is empty")
        return dict(value)


class Model(pydantic.BaseModel):  # type: ignore[misc]  # mypy does not see pydantic
    # Without a docstring, which the document would show at each model.
    if pydantic.VERSION.startswith("1."):

        class Config:
            @staticmethod
            def schema_extra(schema: dict[str, Any], model: Any) -> None:
                """Add which fields can be null: pydantic 1 leaves that out."""
                properties = schema["properties"]
                for name in (name for name, entry in model.__fields__.items() if entry.allow_none):
                    one = properties[name]
                    properties[name] = {"nullable": True, **({"allOf": [one]} if "$ref" in one else one)}


class StopBody(Model, extra="forbid"):  # type: ignore[call-arg]
    channel: ChannelName | None = None


class StartBody(StopBody):
    stream_config: ChannelKeys | None = None


# Responses


def required(description: str | None = None) -> Any:
    """A field that is always there, even if it is null."""
    return pydantic.Field(..., description=description)


def model_of(kind: type, **replaced: Any) -> Any:
    """A model with the fields of a dataclass of core; `replaced` gives the types of those that contain models."""
    hints = typing.get_type_hints(kind) | replaced
    fields: dict[str, Any] = {entry.name: (hints[entry.name], ...) for entry in dataclasses.fields(kind)}
    return pydantic.create_model(kind.__name__, __base__=Model, **fields)


class Played(model_of(channels.Played)):  # type: ignore[misc]
    pass


ITEMS: dict[str, Any] = {"now": Played | None, "next": Played | None, "last": list[Played]}


class ChannelState(model_of(channels.ChannelState, **ITEMS)):  # type: ignore[misc]
    pass


class ChannelEnd(model_of(channels.ChannelEnd)):  # type: ignore[misc]
    pass


class Unit(Model):
    name: str = required("The worker's unit.")
    active: str = required("systemd's ActiveState: active, activating, deactivating, inactive, failed …")
    sub: str = required("systemd's SubState: running, auto-restart, dead, failed …")
    pid: int | None = required()
    restarts: int | None = required("Automatic restarts by systemd since the last requested start.")
    result: str = required("The result of its last run: success, exit-code, signal, watchdog …")
    exit_status: int | None = required()


class ChannelStatus(Model):
    channel: str
    configured_by: str | None = required('"livekeep.toml", "api", or null when it is no longer configured.')
    intended: bool = required("Whether it is meant to be on air, also after a reboot.")
    on_air: bool = required("Whether the ingest acknowledged data within the last seconds.")
    unit: Unit
    state: ChannelState | None = required("The worker's own state; null while it isn't running.")
    last_end: ChannelEnd | None = required("How the worker last ended since boot.")
    problems: list[str] = required("The problems, one sentence each.")


class Statuses(Model):
    channels: list[ChannelStatus]


class Items(Model):
    channel: str
    running: bool
    picture: str | None = required('"item" or "slate".')
    now: Played | None = required()
    next: Played | None = required()
    last: list[Played] = required("The latest first.")


class Skipped(Model):
    channel: str
    skipped: Played | None = required("The item that was playing.")
    next: Played | None = required()


class ConfiguredChannel(Model):
    channel: str
    configured_by: str = required('"livekeep.toml" or "api".')
    config: dict[str, Any] = required("All keys, including defaults; ingest URLs are cut after the application.")
    problems: list[str]


class Channels(Model):
    channels: list[ConfiguredChannel]


class Health(Model):
    status: typing.Literal["ok", "degraded", "down"]
    version: str


class Error(Model):
    type: str = required("A short code for programs.")
    message: str = required("A sentence for people: what is wrong, and what to do.")
    field: str | None = pydantic.Field(None, description="The faulty field.")


class ErrorAnswer(Model):
    error: Error
    request_id: str = required("As in the header X-Request-ID and in the journal.")
