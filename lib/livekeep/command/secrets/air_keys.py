"""livekeep air set-key, set-storage-keys, set-api-token, set-youtube-key: the secrets of the air part, each for one unit.

Each comes from a file, a prompt or a pipe, never from the command line. Writes /etc/credstore/livekeep.stream-key.CHANNEL,
livekeep.storage-key-id, livekeep.storage-secret, livekeep.api-token and livekeep.youtube-api-key; restarts the unit if it runs.
"""

import argparse
import contextlib
import re
import secrets
import sys
from pathlib import Path

from livekeep.command import file
from livekeep.command.channel.actions import names_of, one_of
from livekeep.command.secrets import credential
from livekeep.command.secrets.credential import Secret
from livekeep.core import channels, config, paths
from livekeep.core.config import CHANNEL_NAME, Channel
from livekeep.core.errors import LivekeepError
from livekeep.system import terminal

API_TOKEN_BYTES = 32
STORAGE = "livekeep-storage.service"
STORAGE_KEY_ID = Secret(
    "livekeep.storage-key-id",
    "storage key's id",
    STORAGE,
    "create a key for the bucket at its provider, and give its id",
    title="Id of the storage key",
)
STORAGE_SECRET = Secret(
    "livekeep.storage-secret", "storage secret", STORAGE, "the provider shows it when it creates the key", title="Its secret"
)
API_TOKEN = Secret("livekeep.api-token", "API token", "livekeep-controller.service", "create one, or give none")
YOUTUBE_KEY = Secret(
    paths.YOUTUBE_KEY_NAME,
    "YouTube API key",
    "livekeep-probe-youtube.service",
    "create one in Google's Cloud console, in a project with the YouTube Data API v3 enabled",
)


def stream_key(channel: str) -> Secret:
    source = "copy it from the service that the channel publishes to, such as YouTube Studio"
    return Secret(f"livekeep.stream-key.{channel}", "stream key", channels.worker_unit(channel), source)


def set_key(arguments: argparse.Namespace) -> int:
    channel = arguments.channel
    if not CHANNEL_NAME.fullmatch(channel):
        raise LivekeepError(f'"{channel}": a channel\'s name has at most 32 small letters, digits, - and _')
    secret = stream_key(channel)
    raw, where = credential.read(arguments.file, secret)
    key = credential.clean(raw, where, secret)
    if fault := fault_of_key(key):
        raise LivekeepError(f"{where}: {fault}")
    known = channels.load(config.load_leniently()[0])[0]
    # First, because storing the key restarts the worker.
    bind(channel, known.get(channel, Channel()))
    credential.keep((key, secret))
    if channel not in known:
        terminal.say(f'There is no channel "{channel}" yet; the configured ones are {names_of(known)}')
    return 0


def bind_key(arguments: argparse.Namespace) -> int:
    """Allow the stored key for the ingests that the channel names now. Root decides this, also for a channel of the API."""
    known = channels.load(config.load_leniently()[0])[0]
    channel = one_of(known, arguments.channel)
    if not channels.ingest_hosts(known[channel]):
        raise LivekeepError(f'channel "{channel}" has no ingest yet; set its ingest_urls first')
    bind(channel, known[channel])
    terminal.say(f"It applies from the channel's next start on: sudo livekeep air restart {channel}")
    return 0


def bind(name: str, channel: Channel) -> None:
    """Store the servers that the channel's key may go to. Without any, only ingests in livekeep.toml may receive it."""
    hosts = " ".join(sorted(channels.ingest_hosts(channel)))
    credential.store_secret(hosts, ingests_of(name))
    if hosts:
        terminal.say(f"The stream key goes to {hosts.replace(' ', ', ')} only")


def ingests_of(channel: str) -> Secret:
    """The servers that a stream key was stored for. They are not secret, but are stored beside the key."""
    name, worker = f"livekeep.stream-ingest.{channel}", channels.worker_unit(channel)
    return Secret(name, "list of servers", worker, "run livekeep air bind-key")


def fault_of_key(key: str) -> str:
    """Why a text without blanks is not a stream key; "" if it may be one."""
    if re.match(r"[a-z]+://", key, re.IGNORECASE):
        return "looks like a full URL; the stream key is the part after its last /, and the rest belongs in ingest_urls"
    return "contains a path instead of a stream key; give only the key" if key.startswith("/") else ""


def set_storage_keys(arguments: argparse.Namespace) -> int:
    secrets_of_storage = (STORAGE_KEY_ID, STORAGE_SECRET)
    if credential.is_asked_for(arguments.file):
        lines, where = [credential.ask(secret) for secret in secrets_of_storage], "the input"
    else:
        raw, where = credential.read(arguments.file, STORAGE_SECRET)
        lines = [line for line in raw.splitlines() if line.strip()]
        if len(lines) != 2:
            raise LivekeepError(f"{where}: must be two lines, the storage key's id and its secret, but has {len(lines)}")
    # All are checked before the first is stored.
    contents = [(credential.clean(line, where, secret), secret) for line, secret in zip(lines, secrets_of_storage, strict=True)]
    credential.keep(*contents)
    return 0


def set_api_token(arguments: argparse.Namespace) -> int:
    """Without input, generates a random token and prints it once."""
    if credential.is_asked_for(arguments.file):
        raw, where = credential.ask(API_TOKEN, "it is not shown; Enter alone creates one"), "the input"
    else:
        raw, where = credential.read(arguments.file, API_TOKEN)
    if raw.strip():
        credential.keep((credential.clean(raw, where, API_TOKEN), API_TOKEN))
        return 0
    new = secrets.token_urlsafe(API_TOKEN_BYTES)
    credential.keep((new, API_TOKEN))
    terminal.say("The API token, shown only once:", to=sys.stderr)
    terminal.say(new)
    return 0


def set_youtube_key(arguments: argparse.Namespace) -> int:
    credential.keep((credential.clean(*credential.read(arguments.file, YOUTUBE_KEY), YOUTUBE_KEY), YOUTUBE_KEY))
    settings = config.load_leniently()[0]
    is_for_clips = any(source.youtube_channel for source in settings.clips.values())
    if not is_for_clips and not any(channel.youtube_video for channel in channels.load(settings)[0].values()):
        terminal.say(f"No channel has a video yet: set youtube_video in [channels.NAME], for example in {channels.NEW_FILE}")
    return 0


def problem_with_key(channel: str, store: Path) -> str:
    """The problem with the stored stream key of `channel`, such as that it cannot be read; "" if there is none."""
    secret = stream_key(channel)
    target = credential.credential_file(store, secret)
    if not target.exists():
        return f"{target}: does not exist"
    try:
        key = credential.clean(file.read_text(target, credential.LARGEST_BYTES), str(target), secret)
    except LivekeepError as error:
        return str(error)
    if fault := fault_of_key(key):
        return f"{target}: {fault}"
    settings = config.load_leniently()[0]
    with contextlib.suppress(LivekeepError):
        known, bound = channels.load(settings)[0], store / ingests_of(channel).file_name
        stored_for = file.read_text(bound) if bound.exists() else ""
        if channel in known and (fault := channels.key_fault(channel, known[channel], settings, stored_for)):
            return f"{bound}: {fault}"
    found = target.stat()
    return f"{target}: other users may read it (mode {found.st_mode & 0o777:o})" if found.st_mode & 0o077 else ""
