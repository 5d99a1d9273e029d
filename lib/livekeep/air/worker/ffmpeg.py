"""How ffmpeg and ffprobe are started on an item: killed with their thread, able to open that item only, without any secret.

They check the server's certificate, which they don't do by default. If a redirect to https is possible, the check must be enabled
in advance: ffmpeg rejects an unused option ("Option ca_file not found"), as over http alone. Tested with 5.1 and 7.1.

Sources: ffmpeg-protocols(1), ffmpeg-formats(1), setpriv(1), PR_SET_PDEATHSIG of prctl(2).
"""

import os
from functools import cache

from livekeep.core import paths
from livekeep.system import process

LEASH = ("setpriv", "--pdeathsig", "KILL", "--")
"""Kills the program when the THREAD that started it ends, not only when the process does."""
READABLE = (
    "/etc/ca-certificates", "/etc/gai.conf", "/etc/host.conf", "/etc/hosts", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/services", "/etc/ssl", "/run/systemd/resolve", "/usr",
)  # fmt: skip
"""What ffmpeg needs besides its item, to load and to find a server."""
DEVICES = ("/dev/null", "/dev/urandom")
FORMATS = "mov,matroska,mpegts,flv,avi,mpeg,asf,ogg,mxf,mpegvideo,h264,hevc"
"""The demuxers that can read an item. Playlists (HLS, concat, SDP …) could open other files, so none is included."""
AUTHORITIES = paths.ROOT / "etc/ssl/certs/ca-certificates.crt"
"""The certificate authorities of the system (ca-certificates); update-ca-certificates adds your own."""
ENCRYPTED = "https"
"""How the path of the proxy's URL begins when it redirects to https."""
STALL_SECONDS = 8
"""After so long without data, ffmpeg reconnects."""
LONGEST_PAUSE_SECONDS = 10
"""Between two connection attempts; ffmpeg doubles the pause each time, and gives up beyond this one."""
PLAIN_PROTOCOLS = ("-protocol_whitelist", "http,tcp")
"""Without https, which would not be checked."""
CHECKED_PROTOCOLS = ("-protocol_whitelist", "http,https,tcp,tls", "-tls_verify", "1", "-ca_file", str(AUTHORITIES))
HTTP_OPTIONS = (
    *("-rw_timeout", f"{STALL_SECONDS * 1_000_000}"),
    *("-reconnect", "1", "-reconnect_streamed", "1", "-reconnect_on_network_error", "1"),
    *("-reconnect_on_http_error", "5xx", "-reconnect_delay_max", f"{LONGEST_PAUSE_SECONDS}"),
)
WHOLE_PACKETS = ("-fflags", "+discardcorrupt")
"""Packets that MPEG marks as damaged go neither into a decoder nor on air."""

LARGEST_PIXELS = 40_000_000
"""Per picture; 8K has 33 million. A picture of 16,000 by 16,000 would take 1.5 GB, and few small machines limit memory."""
MODEST = ("-max_pixels", f"{LARGEST_PIXELS}")

CHATTER = ("Warning: using insecure memory!",)
"""Unrelated to the item or the ingest: libgcrypt prints it where memory locking is not permitted, as in a container."""


def confined_leash(*files: str) -> tuple[str, ...]:
    """Like `LEASH`, for a program that decodes untrusted files: it can open those files, its libraries, and no other file.

    A decoder that a malicious file takes over reads no stream key, no other item and no configuration, and writes nowhere.
    Uses Landlock where kernel and setpriv support it (trixie's setpriv does, bookworm's does not); elsewhere it is `LEASH`.
    """
    if not has_landlock():
        return LEASH
    readable = [path for path in (*READABLE, *files) if not path.startswith("http") and os.path.exists(path)]  # noqa: PTH110
    rules = [*map(read_rule, readable), *(f"path-beneath:read-file,write-file:{path}" for path in DEVICES)]
    return ("setpriv", "--pdeathsig", "KILL", *LANDLOCK, *(word for rule in rules for word in ("--landlock-rule", rule)), "--")


TRIAL_SECONDS = 10.0
LANDLOCK = ("--no-new-privs", "--landlock-access", "fs")


def read_rule(path: str) -> str:
    """A folder with its contents, or a single file: Landlock refuses the rights of a folder on a file."""
    return f"path-beneath:{'execute,read-file,read-dir' if os.path.isdir(path) else 'read-file'}:{path}"  # noqa: PTH112


@cache
def has_landlock() -> bool:
    """Whether setpriv and the kernel can confine a program. Runs setpriv once."""
    trial = ["setpriv", *LANDLOCK, "--landlock-rule", read_rule("/usr"), "--", "/usr/bin/true"]
    try:
        return process.run(trial, TRIAL_SECONDS, process.environment()).exit_code == 0
    except process.ChildError:
        return False


def input_options(source: str) -> list[str]:
    """The options of ffmpeg and ffprobe before `-i`, and the input: an absolute path, or the proxy's loopback URL."""
    if source.startswith(("http://", "https://")):
        # The URL itself uses https, or it is one of the proxy's that redirects to https.
        is_encrypted = source.startswith("https://") or source.split("/", 4)[3:4] == [ENCRYPTED]
        protocols = CHECKED_PROTOCOLS if is_encrypted else PLAIN_PROTOCOLS
        return [*MODEST, *protocols, *HTTP_OPTIONS, *WHOLE_PACKETS, "-format_whitelist", FORMATS, "-i", source]
    return [*MODEST, "-protocol_whitelist", "file", *WHOLE_PACKETS, "-format_whitelist", FORMATS, "-i", f"file:{source}"]
