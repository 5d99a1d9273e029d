"""The ingest of a channel: its URL in parts, and the options that ffmpeg gets without others seeing them. Pure."""

import re
from dataclasses import dataclass

from livekeep.core.errors import ConfigError

LONGEST_KEY_BYTES = 900
"""ffmpeg reads its presets in lines of 1000 bytes."""
DEFAULT_PORTS = {"rtmp": 1935, "rtmps": 443}
ADDRESS = re.compile(r"(?i:(rtmps?))://(?:([^\s/?#@]*)@)?([\w.-]+|\[[0-9a-fA-F:.]+\])(?::([0-9]{1,5}))?(?:/(\S*))?")


@dataclass(frozen=True)
class Address:
    """An ingest's URL in parts."""

    scheme: str
    host: str
    """An IPv6 address is in brackets."""
    port: int
    application: str
    """Everything after host and port, including the query."""

    @property
    def shown(self) -> str:
        """Host and port, for states and messages."""
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Raises `ConfigError` for an unusable URL; the message contains only its host."""
        match = ADDRESS.fullmatch(url)
        if not match:
            raise ConfigError(["ingest_urls: must be a URL such as rtmps://a.rtmps.youtube.com/live2"])
        scheme, user, host, port, application = match.groups()
        if user is not None:
            raise ConfigError(
                [f"ingest_urls: user and password before {host} would be seen by all users; they are not supported"]
            )
        scheme = scheme.lower()
        return cls(scheme, host, int(port or DEFAULT_PORTS[scheme]), (application or "").rstrip("/"))


def preset_of(address: Address, key: str) -> bytes:
    """The options that others must not see. Without a key, the last part of the URL's path is the stream's name.

    Raises `ConfigError`.
    """
    application = address.application
    if not key:
        application, _slash, key = application.rpartition("/")
    for value in (application, key):
        if not value.isprintable() or len(value.encode()) > LONGEST_KEY_BYTES:
            raise ConfigError([f"the stream key must be one line of at most {LONGEST_KEY_BYTES} bytes"])
    return f"rtmp_app={application}\nrtmp_playpath={key}\n".encode()
