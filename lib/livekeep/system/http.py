"""The HTTP client: requests, plus a deadline for the whole exchange and a limit on the unpacked body.

For APIs (`Client.get`), for streams as the player program reads them (`Client.read`), and for uploads (`Client.post`). Each
exchange runs in a thread. At the deadline its sockets are shut down, which also stops a server that sends a few bytes at a time;
a name lookup, which cannot be cancelled, is left behind. This module follows redirects: they carry no secret to another host and
stay http or https. Error texts never contain a URL, a header or anything that a server sent.
"""

import base64
import contextlib
import http.client
import logging
import math
import os
import re
import socket
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from livekeep import __version__
from livekeep.core.errors import TemporaryError
from livekeep.system.background import within

USER_AGENT = f"livekeep/{__version__}"
PLAYERS_HEADERS = {"User-Agent": "libmpv", "Accept": "*/*", "Accept-Encoding": urllib3.util.SKIP_HEADER}
"""As mpv sends them (0.35 and 0.40): a server that selects by headers responds as it does to the player."""
LARGEST_BODY_BYTES = 1024 * 1024
BLOCK_BYTES = 64 * 1024
FIRST_BLOCK_BYTES = 8
MOST_REDIRECTS = 3
MOST_REDIRECTS_OF_PLAYER = 8
"""As in FFmpeg."""
REDIRECTS = (301, 302, 303, 307, 308)
MOST_LEFT_BEHIND = 6
"""Threads left in a name lookup, in the whole process; a resolver gives up within half a minute."""
SAFE = "!#$%&'()*+,/:;=?@[]|~"
"""The characters that percent-encoding leaves unchanged."""
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}

# It would log signed URLs, and warn about a wrong clock in its own words.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)
urllib3.disable_warnings()

Origin = tuple[str, str, int]
Result = TypeVar("Result")
Sink = Callable[[bytes], bool]
"""Receives the next bytes of the body, unpacked; returns whether it wants more."""


class TransportError(TemporaryError):
    """No usable response. `outcome` is one of core.state.REQUEST_OUTCOMES; the text ends the sentence "… cannot be reached: "."""

    def __init__(self, outcome: str, text: str, is_refused: bool = False) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.is_refused = is_refused
        """Whether the host refused the connection."""
        self.is_proxy = False
        """Whether the proxy is the cause."""


class RefusedStatusError(TransportError):
    """A response whose status is not a success."""

    def __init__(self, status: int) -> None:
        expired = "; has its signature expired?" if status == 403 else ""
        super().__init__(outcome_of(status), f"HTTP {status}{expired}")
        self.status = status


def outcome_of(status: int) -> str:
    """The status as one of core.state.REQUEST_OUTCOMES."""
    return "429" if status == 429 else f"{status // 100}xx" if 200 <= status < 600 else "invalid"


@dataclass(frozen=True)
class Response:
    """An HTTP response; header names in lower case. `body` is empty if it went to a `Sink`."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)
    """The URL after redirects."""


class Cookies(RequestsCookieJar):
    """The cookies of one check, from redirect to playlist to variant; each is sent only to its own host and path."""


class Adapter(HTTPAdapter):
    """Keeps one connection, tracks the sockets of all that it opens, and counts them."""

    def __init__(self) -> None:
        self.sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.opened = 0
        adapter = self

        class Noting:
            """A connection whose socket is tracked from its creation, also through a proxy's tunnel."""

            _sock: Any = None
            _whole_timeout: float | None = None

            @property
            def sock(self) -> Any:
                return self._sock

            @sock.setter
            def sock(self, value: Any) -> None:
                self._sock = value
                if isinstance(value, socket.socket):
                    value.settimeout(self._whole_timeout)
                    adapter.sockets.add(value)

            def connect(self: Any) -> None:
                adapter.opened += 1
                self._whole_timeout = self.timeout
                self.timeout = seconds_for_each_address(self.host, self.port, self.timeout)
                super().connect()  # type: ignore[misc]

        class Plain(Noting, urllib3.connection.HTTPConnection): ...

        class Secure(Noting, urllib3.connection.HTTPSConnection): ...

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        self._pools = {"http": PlainPool, "https": SecurePool}
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **keywords)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        parts = urlsplit(proxy)
        return {"Proxy-Authorization": basic(parts)} if parts.username else {}

    def shut_down(self) -> None:
        """End every operation on the sockets, in any thread."""
        for connection in list(self.sockets):
            shut_down(connection)


class Client:
    """Makes requests, one at a time, and keeps the last connection for the next one."""

    _left_behind: list[threading.Thread] = []  # noqa: RUF012 - of all clients

    def __init__(self, proxy: str = "", longest_silence_seconds: float = math.inf) -> None:
        """`proxy` is a URL (http or https, perhaps with user and password) or "" for none; the environment is ignored.

        An exchange ends before the deadline if the server sends nothing for `longest_silence_seconds`.
        """
        self._proxy = proxy
        self._silence_seconds = longest_silence_seconds
        self._session: requests.Session | None = None
        self._adapter: Adapter | None = None

    def get(
        self,
        url: str,
        deadline: float,
        headers: Mapping[str, str],
        secret: Mapping[str, str],
        most_redirects: int = MOST_REDIRECTS,
    ) -> Response:
        """GET `url` until `deadline` (monotonic seconds), following a few redirects; with `most_redirects=0`, none.

        The `secret` headers go to the first origin only. Raises `TransportError`.
        """

        sent = {"User-Agent": USER_AGENT, "Accept": "*/*", **headers, **secret}
        cookies = Cookies()

        def ask(at: str) -> Response:
            nonlocal sent
            if origin_of(urlsplit(at)) != origin_of(urlsplit(url)):
                sent = {name: value for name, value in sent.items() if name not in secret}
            return self._collected(request_for("GET", at, sent), deadline, cookies)

        return self._bounded(deadline, lambda: followed(url, most_redirects, ask))

    def read(
        self, url: str, deadline: float, sink: Sink, cookies: Cookies | None = None, headers: Mapping[str, str] = PLAYERS_HEADERS
    ) -> Response:
        """GET `url`, by default as the player program does. The body of a 200 goes to `sink`; other bodies are not read.

        Raises `TransportError`.
        """
        jar = Cookies() if cookies is None else cookies

        def ask(at: str) -> Response:
            return self._exchange(request_for("GET", at, headers), deadline, jar, sink)

        return self._bounded(deadline, lambda: followed(encoded(url), MOST_REDIRECTS_OF_PLAYER, ask))

    def post(self, url: str, deadline: float, headers: Mapping[str, str], body: Any) -> Response:
        """POST `body`, bytes or an iterable with a length; no redirect is followed. Raises `TransportError`."""
        sent = {"User-Agent": USER_AGENT, "Accept": "*/*", **headers}
        return self._bounded(deadline, lambda: self._collected(request_for("POST", url, sent, body), deadline, Cookies()))

    def talk(self, parts: SplitResult, deadline: float, work: Callable[[socket.socket], Result]) -> Result:
        """The result of `work` with a connection to the host of a stream URL of any kind, with TLS if its scheme ends in "s".

        Raises `TransportError`, also for socket errors in `work`.
        """
        opened: list[socket.socket] = []

        def connect() -> Result:
            _scheme, host, port = origin_of(parts)
            seconds = seconds_for_each_address(host, port, seconds_left(deadline))
            with socket.create_connection((host, port), seconds) as stream:
                opened.append(stream)
                stream.settimeout(seconds_left(deadline))
                if not parts.scheme.endswith("s"):
                    return work(stream)
                with ssl.create_default_context().wrap_socket(stream, server_hostname=host) as secure:
                    opened.append(secure)
                    return work(secure)

        def end() -> None:
            for stream in opened:
                shut_down(stream)

        return self._bounded(deadline, connect, end)

    def close(self) -> None:
        if self._session:
            self._session.close()

    def _bounded(self, deadline: float, work: Callable[[], Result], end: Callable[[], None] | None = None) -> Result:
        """The result of `work`. At `deadline`, `end` is called and the thread is left behind. Raises `TransportError`."""
        Client._left_behind = [thread for thread in Client._left_behind if thread.is_alive()]
        seconds = max(deadline - time.monotonic(), 0.0)
        if len(Client._left_behind) >= MOST_LEFT_BEHIND:
            raise TransportError("timeout", "earlier name lookups still have no answer")
        with translated(min(seconds, self._silence_seconds)):
            try:
                return within(seconds, work, leave=Client._left_behind.append)
            except TimeoutError:
                (end or self._abandon)()
                raise

    def _abandon(self) -> None:
        """Leave the session to the thread that was left behind, and make that thread end."""
        if self._adapter:
            self._adapter.shut_down()
        self._session = self._adapter = None

    def _opened_session(self) -> tuple[requests.Session, Adapter]:
        if self._session is None or self._adapter is None:
            session, adapter = requests.Session(), Adapter()
            session.headers.clear()
            # A .netrc would replace the token, and a proxy in the environment is not the configured one.
            session.trust_env = False
            session.proxies = {"http": self._proxy, "https": self._proxy} if self._proxy else {}
            # The folder of the system's authorities, in which OpenSSL finds the one it needs. Reading them all from the one file
            # takes 0.9 MB, and 20 ms for each connection.
            authorities = ssl.get_default_verify_paths()
            chosen = os.environ.get(authorities.openssl_cafile_env)
            session.verify = chosen or authorities.capath or authorities.cafile or True
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            self._session, self._adapter = session, adapter
        return self._session, self._adapter

    def _collected(self, request: requests.Request, deadline: float, cookies: Cookies) -> Response:
        """The response with its body, whatever its status."""
        body = bytearray()

        def take(block: bytes) -> bool:
            body.extend(block)
            if len(body) > LARGEST_BODY_BYTES:
                raise TransportError("invalid", "its response is larger than 1 MiB")
            return True

        response = self._exchange(request, deadline, cookies, take, every_status=True)
        return replace(response, body=bytes(body))

    def _exchange(
        self, request: requests.Request, deadline: float, cookies: Cookies, sink: Sink, every_status: bool = False
    ) -> Response:
        session, adapter = self._opened_session()
        session.cookies = cookies
        prepared = session.prepare_request(request)
        # Unchanged: a server may sign every character.
        prepared.url = request.url
        opened = adapter.opened
        try:
            answer = self._send(session, prepared, deadline)
        except requests.ConnectionError as error:
            if adapter.opened > opened or not isinstance(cause_of(error), ConnectionError):
                raise
            # The server had closed the kept-alive connection, which is normal.
            answer = self._send(session, prepared, deadline)
        with contextlib.closing(answer):
            if every_status or answer.status_code == 200 or answer.raw.length_remaining == 0:
                all(sink(block) for block in unpacked(answer))
            names = {name.lower(): value for name, value in answer.headers.items()}
            return Response(answer.status_code, names)

    def _send(self, session: requests.Session, prepared: requests.PreparedRequest, deadline: float) -> requests.Response:
        seconds = min(seconds_left(deadline), self._silence_seconds)
        return session.send(prepared, timeout=seconds, stream=True, allow_redirects=False)


def request_for(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> requests.Request:
    """The request, its URL without user and password. Raises `ValueError` for a URL without a host or with an invalid port."""
    parts = urlsplit(url)
    origin_of(parts)
    secret = {"Authorization": basic(parts)} if parts.username else {}
    address = parts._replace(netloc=authority_of(parts), fragment="").geturl()
    return requests.Request(method, address, headers={**secret, **headers}, data=body)


def unpacked(answer: requests.Response) -> Iterator[bytes]:
    """The body in blocks, decoded from its Content-Encoding as FFmpeg does.

    No block is larger than `BLOCK_BYTES`, whatever the compression. An encoding that FFmpeg doesn't know is left in place. Raises
    `TransportError` for a body that ends too early or is encoded wrongly.
    """
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    # 47: gzip or zlib, detected from the header.
    unpacker = zlib.decompressobj(47) if packing in ("gzip", "x-gzip", "deflate") else None
    # A read waits for all its bytes. The first is small, because the beginning of a slow response shows what it is.
    size = FIRST_BLOCK_BYTES
    while block := answer.raw.read(size, decode_content=False):
        size = min(2 * size, BLOCK_BYTES)
        if unpacker is None:
            yield block
            continue
        try:
            while block and not unpacker.eof:
                yield unpacker.decompress(block, BLOCK_BYTES)
                block = unpacker.unconsumed_tail
        except zlib.error as error:
            raise TransportError("invalid", "its response is not compressed as declared") from error
    if unpacker is not None:
        yield unpacker.flush()
    # urllib3 2 raises this error itself.
    if answer.raw.length_remaining:
        raise TransportError("connect", "the connection was interrupted")


@contextlib.contextmanager
def translated(seconds: float) -> Iterator[None]:
    """Turn errors of sockets, TLS and HTTP into a `TransportError` with our own text.

    It has no cause, whose text may contain the signed URL or a proxy's password.
    """
    try:
        yield
    except TransportError:
        raise
    except (OSError, ValueError, http.client.HTTPException, urllib3.exceptions.HTTPError) as error:
        problem = fault(cause_of(error), seconds)
        problem.is_proxy = isinstance(error, requests.exceptions.ProxyError)
        raise problem from None


def cause_of(error: BaseException) -> BaseException:
    """The error that requests and urllib3 wrapped, or `error` itself."""
    cause: BaseException | None = error
    while cause is not None:
        wrappers = requests.RequestException | urllib3.exceptions.HTTPError
        if isinstance(cause, http.client.IncompleteRead) or not isinstance(cause, wrappers):
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


def fault(cause: BaseException, seconds: float) -> TransportError:  # noqa: PLR0911 - the table, a row each
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
        return TransportError("timeout", f"no answer within {round(seconds, 1):g} s")
    if isinstance(cause, socket.gaierror):
        return TransportError("dns", "its name cannot be looked up")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransportError("tls", f"its certificate is not accepted ({cause.verify_message}); is the clock right?")
    if isinstance(cause, urllib3.util.ssl_match_hostname.CertificateError):
        return TransportError("tls", "its certificate is not accepted (it is for another name); is the clock right?")
    if isinstance(cause, ssl.SSLError):
        return TransportError("tls", "no secure connection can be made")
    if isinstance(cause, ConnectionRefusedError):
        return TransportError("connect", "the connection is refused", is_refused=True)
    if isinstance(cause, ConnectionError | http.client.IncompleteRead):
        return TransportError("connect", "the connection was interrupted")
    if isinstance(cause, OSError):
        # From http.client, which sets no errno.
        if refused := re.match(r"Tunnel connection failed: ([0-9]{3})\b", str(cause)):
            return TransportError("connect", f"the proxy refuses the connection (HTTP {refused[1]})")
        return TransportError("connect", f"no connection ({cause.strerror or type(cause).__name__})")
    return TransportError("invalid", "its response is not valid HTTP")


def shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown, which would first drop its TLS state.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def seconds_for_each_address(host: str, port: int, seconds: float) -> float:
    """A share of `seconds`: a dead address, often IPv6, must leave time for the next. Raises `socket.gaierror`."""
    return seconds / max(len(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)), 1)


def seconds_left(deadline: float) -> float:
    """Raises `TimeoutError` if nothing is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def origin_of(parts: SplitResult) -> Origin:
    """Scheme, host, port. Raises `ValueError` for a URL without a host, with an unknown scheme or an invalid port."""
    if not parts.hostname or parts.scheme not in DEFAULT_PORTS:
        raise ValueError("no host")
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def followed(url: str, most_redirects: int, ask: Callable[[str], Response]) -> Response:
    """The first response of `ask` that is no redirect, or the first one with `most_redirects=0`.

    Raises `TransportError` for a target that is not an http(s) URL, and for too many redirects.
    """
    for _ in range(most_redirects + 1):
        response = ask(url)
        location = response.headers.get("location", "")
        if not most_redirects or response.status not in REDIRECTS or not location:
            return replace(response, url=url)
        # http.client always reads headers as Latin-1.
        url = urljoin(url, quote(location.encode("latin-1"), safe=SAFE))
        if urlsplit(url).scheme not in ("http", "https"):
            raise TransportError("3xx", "it redirects to an address that is not http or https")
    raise TransportError("3xx", "it redirects too often")


def encoded(url: str) -> str:
    """`url` with blanks and non-ASCII letters percent-encoded, its host in Punycode; what is encoded already stays unchanged."""
    if url.isascii() and " " not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.encode("idna").decode("ascii")
    return parts._replace(netloc=host, path=quote(parts.path, safe=SAFE), query=quote(parts.query, safe=SAFE)).geturl()


def authority_of(parts: SplitResult) -> str:
    """Host and port as written, without user and password."""
    return parts.netloc.rpartition("@")[2]


def basic(parts: SplitResult) -> str:
    """The Authorization header for a URL's user and password (RFC 7617)."""
    words = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(words.encode()).decode('ascii')}"
