"""One request to an RTSP server (RFC 2326): does the stream exist? For plain rtsp:// and rtsps:// URLs in livekeep-poller."""

import hashlib
import re
import socket
from urllib.parse import SplitResult, unquote

from livekeep.system.http import USER_AGENT, Client, TransportError, authority_of, basic

MOST_HEADERS = 64


def describe(client: Client, parts: SplitResult, deadline: float) -> int:
    """The status of a DESCRIBE, with the URL's user and password if the server requires them. Raises `TransportError`."""
    status, challenge = describe_once(client, parts, deadline, "")
    if status == 401 and parts.username and challenge:
        status, _ = describe_once(client, parts, deadline, credentials(parts, challenge))
    return status


def describe_once(client: Client, parts: SplitResult, deadline: float, authorization: str) -> tuple[int, str]:
    """The status of one DESCRIBE, and the challenge to respond to, "" for none. Raises `TransportError`."""
    lines = [f"DESCRIBE {rtsp_target(parts)} RTSP/1.0", "CSeq: 1", f"User-Agent: {USER_AGENT}", "Accept: application/sdp"]
    lines += [f"Authorization: {authorization}"] if authorization else []

    def exchange(connection: socket.socket) -> tuple[int, str]:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("utf-8"))
        challenges: list[str] = []
        with connection.makefile("rb") as reader:
            status = re.match(rb"RTSP/[0-9.]+ ([0-9]{3})\b", reader.readline(1024))
            if not status:
                raise TransportError("invalid", "it does not speak RTSP")
            for _ in range(MOST_HEADERS):
                name, _colon, value = reader.readline(4096).strip().partition(b":")
                if not name:
                    break
                if name.lower() == b"www-authenticate":
                    challenges.append(value.decode("latin-1").strip())
        # Digest before Basic.
        challenges.sort(key=lambda text: not text.lower().startswith("digest"))
        return int(status[1]), challenges[0] if challenges else ""

    return client.talk(parts, deadline, exchange)


def credentials(parts: SplitResult, challenge: str) -> str:
    """The Authorization header for the URL's user and password: Basic, or Digest with MD5 as cameras require it (RFC 2069)."""
    if not challenge.lower().startswith("digest"):
        return basic(parts)
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    realm, nonce, target = parameters.get("realm", ""), parameters.get("nonce", ""), rtsp_target(parts)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    answer = md5(f"{md5(f'{user}:{realm}:{password}')}:{nonce}:{md5(f'DESCRIBE:{target}')}")
    return f'Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{target}", response="{answer}"'


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def rtsp_target(parts: SplitResult) -> str:
    return parts._replace(netloc=authority_of(parts)).geturl()
