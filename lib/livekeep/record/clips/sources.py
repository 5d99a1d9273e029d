"""The configured clip sources: the module that reads each, and its secret."""

from pathlib import Path

from livekeep.core import paths
from livekeep.core.config import Config
from livekeep.core.config.record import Clips
from livekeep.record.clips import file_source
from livekeep.record.clips.clip import MOST_CLIPS, Clip, SourceError
from livekeep.record.clips.vimeo_source import SET_TOKEN, VimeoSource
from livekeep.record.clips.youtube_source import YoutubeSource
from livekeep.system import credentials

SET_YOUTUBE_KEY = "sudo livekeep air set-youtube-key"
NO_SOURCE = "set exactly one of vimeo, youtube_channel and file in [clips.NAME]"


def fetch(source: Clips, settings: Config) -> list[Clip]:
    """The clips of `source`, the newest `MOST_CLIPS` of them. Raises `SourceError`."""
    seconds, proxy = settings.analyzer.timeout_seconds, settings.vimeo.proxy
    if sum(map(bool, (source.vimeo, source.youtube_channel, source.file))) != 1:
        raise SourceError("it names no place of its clips, or more than one", NO_SOURCE)
    if source.vimeo:
        token = secret(paths.TOKEN_NAME, "Vimeo token", SET_TOKEN)
        return VimeoSource(settings.vimeo.api_url, proxy, token, seconds).clips(source.vimeo)[:MOST_CLIPS]
    if source.youtube_channel:
        key = secret(paths.YOUTUBE_KEY_NAME, "YouTube API key", SET_YOUTUBE_KEY)
        return YoutubeSource(settings.analyzer.youtube_api_url, proxy, key, seconds).clips(source.youtube_channel)
    return file_source.clips(Path(source.file))


def secret(name: str, noun: str, advice: str) -> str:
    """A token or key of the unit. Raises `SourceError` when none is usable."""
    try:
        key = credentials.read_key(name)
    except (OSError, ValueError) as error:
        raise SourceError(f"the {noun}'s file holds more than that, or cannot be read", advice) from error
    if not key:
        raise SourceError(f"no {noun} is stored", advice)
    return key
