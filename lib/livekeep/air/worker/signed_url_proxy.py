"""The signed URL proxy: gives ffmpeg a loopback URL that stays valid as long as the item plays.

A bucket's signed URL expires, and ffmpeg would print it. So ffmpeg opens http://127.0.0.1:PORT/SCHEME/TOKEN/VERSION/NAME. A 302
redirects it to a URL signed at that moment, and it comes back here for each connection. SCHEME is that of the target, so that
ffmpeg can be made to check a certificate. Only the worker's own user can send requests, and only for the URLs that the worker
issued: a token is valid for one name and version, until the worker ends, since its key changes with each start. If another
object has replaced the one that the item began with, the response is 410: from the middle on, its bytes would be garbage.
Source of the check: sock_diag(7) with inet_diag.
"""

import contextlib
import hashlib
import logging
import os
import re
import socket
import struct
import threading
import time

from livekeep.air.storage.library import Library
from livekeep.air.storage.media import StorageError
from livekeep.air.worker.tcp_info import (
    ANY_STATE,
    HEADER,
    MESSAGE,
    NETLINK_SOCK_DIAG,
    NLM_F_REQUEST,
    REQUEST,
    SOCK_DIAG_BY_FAMILY,
    messages,
)

MOST_CONNECTIONS = 8
LARGEST_REQUEST_BYTES = 16 * 1024
REQUEST_SECONDS = 10.0
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
REASONS = {302: "Found", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}
REASONS |= {410: "Gone", 502: "Bad Gateway"}
UNKNOWN_VERSION = "0"
SOCKET_IDENTITY = struct.Struct("!HH4s12x4s12x4x8s")
"""struct inet_diag_sockid of an IPv4 connection: its ports and addresses, no interface, and the cookie."""
PLACES_BYTES = 36
"""The part with ports and addresses."""
ANY_COOKIE = b"\xff" * 8

logger = logging.getLogger("livekeep.proxy")


class SignedUrlProxy:
    """Serves until `close`. For a folder it serves nothing: `address_of` returns the path itself."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._key = os.urandom(32)
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._replaced: set[str] = set()
        """The tokens whose object has been replaced."""
        self._listener: socket.socket | None = None
        if library.is_remote:
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=MOST_CONNECTIONS)
            threading.Thread(target=self._accept_all, args=(self._listener,), daemon=True).start()

    def address_of(self, name: str) -> str:
        """The address of the file's current version, for ffmpeg. Blocks, and raises `StorageError`, as `Library.locate` does."""
        location = self._library.locate(name)
        if not self._listener:
            return location
        version = UNKNOWN_VERSION
        with contextlib.suppress(StorageError):
            # Without a version the storage can still serve the file, but a replacement can't be detected.
            version = digest(self._library.identify(name)) or UNKNOWN_VERSION
        port, scheme, token = self._listener.getsockname()[1], scheme_of(location), self._token_of(name, version)
        # It may have been restored.
        self._replaced.discard(token)
        return f"http://127.0.0.1:{port}/{scheme}/{token}/{version}/{quote(name)}"

    def version_of(self, address: str) -> str:
        """One word for the version of the file behind an address from `address_of`; the same for all files of a folder."""
        return address.split("/")[5] if self._listener else ""

    def was_replaced(self, address: str) -> bool:
        """Whether a reader of that address reconnected and found another object."""
        return bool(self._listener) and address.split("/")[4] in self._replaced

    def close(self) -> None:
        """Can be called repeatedly."""
        if self._listener and self._listener.fileno() >= 0:
            # Closing alone would leave the thread in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _token_of(self, name: str, version: str) -> str:
        return hashlib.blake2b(f"{version}/{name}".encode(), key=self._key, digest_size=16).hexdigest()

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            self._free.acquire()
            try:
                connection, peer = listener.accept()
            except OSError:
                self._free.release()
                if listener.fileno() < 0 or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    return
                # A temporary fault, such as no free descriptors.
                time.sleep(0.1)
                continue
            threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        try:
            with connection:
                own = connection.getsockname()
                is_own = uid_of(peer, own) == os.getuid()
                answer = self._answer(connection) if is_own else response(403, "only this worker's user may use this")
                connection.sendall(answer)
                # Unread data would make the kernel reset the connection and lose the response.
                connection.shutdown(socket.SHUT_WR)
                connection.settimeout(1)
                connection.recv(LARGEST_REQUEST_BYTES)
        except OSError:
            # ffmpeg was killed meanwhile.
            pass
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket) -> bytes:
        head, deadline = b"", time.monotonic() + REQUEST_SECONDS
        while b"\r\n\r\n" not in head and len(head) <= LARGEST_REQUEST_BYTES:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            received = connection.recv(LARGEST_REQUEST_BYTES)
            if not received:
                break
            head += received
        request = REQUEST_LINE.fullmatch(head.partition(b"\r\n")[0]) if b"\r\n\r\n" in head else None
        if not request:
            return response(400, "not a valid request")
        method, target = request.groups()
        if method not in (b"GET", b"HEAD"):
            return response(405, "only GET and HEAD are answered here", "Allow: GET, HEAD")
        scheme, _slash, rest = target.decode()[1:].partition("/")
        token, _slash, rest = rest.partition("/")
        version, _slash, quoted = rest.partition("/")
        name = unquote(quoted)
        if token != self._token_of(name, version):
            return response(404, "there is no such item", with_body=method == b"GET")
        status, text = self._place_of(name, scheme, token, version)
        return response(302, "", f"Location: {text}") if status == 302 else response(status, text, with_body=method == b"GET")

    def _place_of(self, name: str, scheme: str, token: str, version: str) -> tuple[int, str]:
        """302 and a URL signed now, or the error status and a sentence with the reason."""
        try:
            if version != UNKNOWN_VERSION and digest(self._library.identify(name)) != version:
                self._replaced.add(token)
                logger.warning("%s: was replaced or removed in the bucket while it was read; the item ends", name)
                return 410, "it was replaced or removed"
            location = self._library.locate(name)
        except StorageError as error:
            logger.warning("%s: cannot be read now: %s", name, error)
            return 502, str(error)
        if scheme_of(location) != scheme:
            problem = "the storage's address is no longer of that scheme; the next item has the new one"
            logger.warning("%s: cannot be read now: %s", name, problem)
            return 502, problem
        return 302, location


def response(status: int, sentence: str, *headers: str, with_body: bool = True) -> bytes:
    """A complete response. It is not cached, and it closes the connection."""
    body = f"{sentence}\n".encode() if sentence else b""
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", *headers, "Content-Type: text/plain; charset=utf-8"]
    lines += [f"Content-Length: {len(body)}", "Cache-Control: no-store", "Connection: close", "", ""]
    return "\r\n".join(lines).encode() + (body if with_body else b"")


def uid_of(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The uid of the socket at `peer` that is connected to the one at `own`; None if it is gone. Raises `OSError`."""
    identity = SOCKET_IDENTITY.pack(peer[1], own[1], socket.inet_aton(peer[0]), socket.inet_aton(own[0]), ANY_COOKIE)
    request = REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, ANY_STATE, identity)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 0, 0) + request)
        for kind, body in messages(kernel.recv(4096)):
            if kind == SOCK_DIAG_BY_FAMILY:
                _family, _state, _timer, _retransmits, answered, *_numbers, uid, _inode = MESSAGE.unpack_from(body)
                # If the connection doesn't exist, the kernel returns the socket that listens on that port.
                return int(uid) if answered[:PLACES_BYTES] == identity[:PLACES_BYTES] else None
    return None


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower()


def digest(version: str) -> str:
    """The digest of a version; "" for none."""
    return hashlib.blake2b(version.encode(), digest_size=8).hexdigest() if version else ""


def quote(name: str) -> str:
    """A name as the path of a URL (urllib.parse costs memory)."""
    return "".join(chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in name.encode())


def unquote(quoted: str) -> str:
    """The inverse of `quote`; invalid UTF-8 matches no name."""
    raw = re.sub(rb"%([0-9A-Fa-f]{2})", lambda match: bytes([int(match[1], 16)]), quoted.encode())
    return raw.decode(errors="replace")
