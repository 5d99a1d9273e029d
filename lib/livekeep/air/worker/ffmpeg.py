"""How ffmpeg and ffprobe are started on an item: on a leash, able to open that item only, knowing no secret.

A server's certificate is checked, which they by themselves do not do. Where a redirect to https may follow, it must be set:
ffmpeg refuses an option that nothing used ("Option ca_file not found"), as over http alone. The same in 5.1 and 7.1, tried.

Sources: ffmpeg-protocols(1), ffmpeg-formats(1), setpriv(1), PR_SET_PDEATHSIG of prctl(2).
"""

import os
from functools import cache

from livekeep.core import paths
from livekeep.system import process

LEASH = ("setpriv", "--pdeathsig", "KILL", "--")
"""What is started so is killed when the THREAD that started it ends, not only when the process does."""
READABLE = (
    "/etc/ca-certificates", "/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services", "/etc/ssl", "/run/systemd/resolve", "/usr",
)  # fmt: skip
"""What ffmpeg needs besides its item, to be loaded and to find a server."""
DEVICES = ("/dev/null", "/dev/urandom")
FORMATS = "mov,matroska,mpegts,flv,avi,mpeg,asf,ogg,mxf,mpegvideo,h264,hevc"
"""The demuxers that may read an item. Playlists (HLS, concat, SDP …) could open other files, and are none of them."""
AUTHORITIES = paths.ROOT / "etc/ssl/certs/ca-certificates.crt"
"""Who may vouch for a server: the system's authorities (ca-certificates); update-ca-certificates adds one's own."""
ENCRYPTED = "https"
"""What the path of the proxy's address begins with when it leads to https."""
STALL_SECONDS = 8
"""A server that sends nothing for so long is connected to afresh."""
LONGEST_PAUSE_SECONDS = 10
"""Between two tries to connect; ffmpeg doubles its pause each time, and gives up beyond this one."""
PLAIN_PROTOCOLS = ("-protocol_whitelist", "http,tcp")
"""Without https, which would not be checked."""
CHECKED_PROTOCOLS = ("-protocol_whitelist", "http,https,tcp,tls", "-tls_verify", "1", "-ca_file", str(AUTHORITIES))
HTTP_OPTIONS = (
    *("-rw_timeout", f"{STALL_SECONDS * 1_000_000}"),
    *("-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_on_network_error", "1"),
    *("-reconnect_on_http_error", "5xx", "-reconnect_delay_max", f"{LONGEST_PAUSE_SECONDS}"),
)
WHOLE_PACKETS = ("-fflags", "+discardcorrupt")
"""What MPEG marks as damaged goes neither into a decoder nor on air."""

LARGEST_PIXELS = 40_000_000
"""Of one picture; 8K has 33 million. A picture of 16,000 by 16,000 would take 1.5 GB, and few small machines bound memory."""
MODEST = ("-max_pixels", f"{LARGEST_PIXELS}")

CHATTER = ("Warning: using insecure memory!",)
"""What says nothing of an item or an ingest: libgcrypt prints it wherever memory may not be locked, as in a container."""


def confined_leash(*files: str) -> tuple[str, ...]:
    """Like `LEASH`, for a program that decodes what strangers made: it can open those files, its libraries, and no other file.

    So a decoder that a file breaks into reads neither the stream key nor another item, nor the configuration, and writes nowhere.
    By Landlock, where kernel and setpriv have it (trixie does, bookworm's setpriv does not); elsewhere it is `LEASH`.
    """
    if not has_landlock():
        return LEASH
    readable = [path for path in (*READABLE, *files) if not path.startswith("http") and os.path.exists(path)]  # noqa: PTH110
    rules = [*map(read_rule, readable), *(f"path-beneath:read-file,write-file:{path}" for path in DEVICES)]
    return ("setpriv", "--pdeathsig", "KILL", *LANDLOCK, *(word for rule in rules for word in ("--landlock-rule", rule)), "--")


TRIAL_SECONDS = 10.0
LANDLOCK = ("--no-new-privs", "--landlock-access", "fs")


def read_rule(path: str) -> str:
    """A folder with all that is in it, or a file alone: Landlock refuses the rights of a folder on a file."""
    return f"path-beneath:{'execute,read-file,read-dir' if os.path.isdir(path) else 'read-file'}:{path}"  # noqa: PTH112


@cache
def has_landlock() -> bool:
    """Whether this machine's setpriv and kernel can confine a program. Runs setpriv once."""
    trial = ["setpriv", *LANDLOCK, "--landlock-rule", read_rule("/usr"), "--", "/usr/bin/true"]
    try:
        return process.run(trial, TRIAL_SECONDS, process.environment()).exit_code == 0
    except process.ChildError:
        return False


def input_options(source: str) -> list[str]:
    """The options of ffmpeg and ffprobe before `-i`, and what they open: an absolute path, or the proxy's loopback URL."""
    if source.startswith(("http://", "https://")):
        protocols = CHECKED_PROTOCOLS if is_encrypted(source) else PLAIN_PROTOCOLS
        return [*MODEST, *protocols, *HTTP_OPTIONS, *WHOLE_PACKETS, "-format_whitelist", FORMATS, "-i", source]
    return [*MODEST, "-protocol_whitelist", "file", *WHOLE_PACKETS, "-format_whitelist", FORMATS, "-i", f"file:{source}"]


def is_encrypted(source: str) -> bool:
    """Whether an address is of https, or one of the proxy's that leads to it."""
    return source.startswith("https://") or source.split("/", 4)[3:4] == [ENCRYPTED]
