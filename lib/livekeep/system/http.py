"""One bounded HTTP request: a deadline over everything, a limit on the body, redirects that carry no secret to another host.

For APIs (`Client.get`) and for what the player program will read too (`Client.read`). It stands on http.client: the usual library
would cost 7 MB more memory and has no deadline over a whole request. Name lookup has no timeout of its own: the caller runs
requests in a thread that it may leave behind (`within`). Error texts never hold a URL, a header or anything that a server sent.
"""

import base64
import contextlib
import http.client
import importlib
import io
import socket
import ssl
import threading
import time
import typing
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from livekeep import __version__
from livekeep.core.errors import TemporaryError

USER_AGENT = f"livekeep/{__version__}"
PLAYERS_HEADERS = {"User-Agent": "libmpv", "Accept": "*/*"}
"""What mpv sends (0.35 and 0.40): a server that chooses by these answers us as it answers the player. No Accept-Encoding."""
LARGEST_BODY_BYTES = 1024 * 1024
BLOCK_BYTES = 64 * 1024
MOST_REDIRECTS = 3
MOST_REDIRECTS_OF_PLAYER = 8
"""As FFmpeg follows them."""
REDIRECTS = (301, 302, 303, 307, 308)
SAFE = "!#$%&'()*+,/:;=?@[]|~"
"""What stays as it is in a URL that is percent-encoded."""
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}

Origin = tuple[str, str, int]
Result = typing.TypeVar("Result")
Sink = Callable[[bytes], bool]
"""Takes the body's next bytes, unpacked; gives whether it wants more."""


class TransportError(TemporaryError):
    """No usable answer. `outcome` is one of core.state.REQUEST_OUTCOMES; the text ends the sentence "… cannot be reached: "."""

    def __init__(self, outcome: str, text: str, is_refused: bool = False) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.is_refused = is_refused
        """Whether the host is there and nobody listens."""


@dataclass(frozen=True)
class Response:
    """An HTTP answer; header names in lower case. `body` is empty when it went to a `Sink`."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(default="", repr=False)
    """Where the answer came from, after redirects."""


class Cookies:
    """The cookies of one look, from redirect to playlist to variant; they go to the hosts and paths that they are meant for."""

    def __init__(self) -> None:
        self._jar: typing.Any = None

    def take(self, url: str, answer: http.client.HTTPResponse) -> None:
        if "Set-Cookie" not in answer.headers:
            return
        # Few servers set any, and the module is large.
        cookiejar = importlib.import_module("http.cookiejar")
        self._jar = self._jar or cookiejar.CookieJar()
        self._jar.extract_cookies(answer, self._request(url))

    def header(self, url: str) -> dict[str, str]:
        if self._jar is None:
            return {}
        request = self._request(url)
        self._jar.add_cookie_header(request)
        value = request.get_header("Cookie")
        return {"Cookie": value} if value else {}

    def _request(self, url: str) -> typing.Any:
        return importlib.import_module("urllib.request").Request(url)  # a URL of http or https


class Wire:
    """A connected socket whose every operation ends at `deadline` (monotonic seconds), in the form that http.client takes."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline

    def hurry(self) -> None:
        """Give the next operation no more than the time that is left. Raises `TimeoutError` when there is none."""
        self.connection.settimeout(seconds_left(self.deadline))

    def sendall(self, data: bytes) -> None:
        self.hurry()
        self.connection.sendall(data)

    def makefile(self, _mode: str = "rb", _buffering: int = -1) -> io.BufferedReader:
        return io.BufferedReader(Incoming(self))

    def close(self) -> None:
        """Nothing yet: http.client closes before the body is read. `hang_up` ends the connection."""

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()


class Incoming(io.RawIOBase):
    """What arrives on a wire; a slow drip of bytes cannot outlast the deadline."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: typing.Any) -> int:
        self._wire.hurry()
        return self._wire.connection.recv_into(buffer)


class Client:
    """Makes requests, one at a time, and keeps the last connection for the next one."""

    def __init__(self, proxy: str = "") -> None:
        """`proxy` is a URL (http or https, perhaps with user and password) or "" for none; the environment is not asked."""
        self._proxy = urlsplit(proxy) if proxy else None
        self._context: ssl.SSLContext | None = None
        self._kept: tuple[Origin, http.client.HTTPConnection, Wire] | None = None
        self._good_address: object = None

    def get(
        self,
        url: str,
        deadline: float,
        headers: Mapping[str, str],
        secret: Mapping[str, str],
        most_redirects: int = MOST_REDIRECTS,
    ) -> Response:
        """GET `url` until `deadline` (monotonic seconds), following a few redirects; with `most_redirects=0` they are responses.

        The `secret` headers go to the first origin only. Raises `TransportError`.
        """
        with translated(deadline):
            for _ in range(most_redirects + 1):
                response = self._get_once(url, deadline, {"User-Agent": USER_AGENT, "Accept": "*/*", **headers, **secret})
                target = redirect_of(response, url) if most_redirects else ""
                if not target:
                    return response
                if origin_of(urlsplit(target)) != origin_of(urlsplit(url)):
                    secret = {}
                url = target
        raise TransportError("3xx", "it sends us on and on to other addresses")

    def read(self, url: str, deadline: float, sink: Sink, cookies: Cookies) -> Response:
        """GET `url` as the player program does, the body of a 200 to `sink`; other bodies are not read.

        Raises `TransportError`.
        """
        with translated(deadline):
            url = encoded(url)
            for _ in range(MOST_REDIRECTS_OF_PLAYER + 1):
                response = self._get_once(url, deadline, {**PLAYERS_HEADERS, **cookies.header(url)}, sink, cookies)
                target = redirect_of(response, url)
                if not target:
                    return response
                url = encoded(target)
        raise TransportError("3xx", "it sends us on and on to other addresses")

    def open_socket(self, parts: SplitResult, deadline: float) -> Wire:
        """Connect to the host of any kind of stream URL, with TLS where its scheme ends in "s". Raises `TransportError`."""
        with translated(deadline):
            _scheme, host, port = origin_of(parts)
            connection = self._dial(host, port, deadline)
            if parts.scheme.endswith("s"):
                connection = self._wrapped(connection, host, deadline)
            return Wire(connection, deadline)

    def close(self) -> None:
        if self._kept:
            self._kept[2].hang_up()
        self._kept = None

    def _get_once(
        self, url: str, deadline: float, headers: Mapping[str, str], sink: Sink | None = None, cookies: Cookies | None = None
    ) -> Response:
        parts = urlsplit(url)
        if self._kept and self._kept[0] == origin_of(parts):
            try:
                return self._exchange(parts, deadline, headers, sink, cookies)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server had closed the kept connection meanwhile, which is no fault.
                pass
        self.close()
        self._kept = self._connected(parts, deadline)
        return self._exchange(parts, deadline, headers, sink, cookies)

    def _exchange(
        self, parts: SplitResult, deadline: float, headers: Mapping[str, str], sink: Sink | None, cookies: Cookies | None
    ) -> Response:
        assert self._kept  # noqa: S101 - both callers have just seen to it
        _origin, connection, wire = self._kept
        wire.deadline = deadline
        keep = False
        try:
            connection.putrequest("GET", self._target(parts), skip_accept_encoding=sink is not None)
            for name, value in self._headers(parts, headers).items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            if cookies:
                cookies.take(parts.geturl(), answer)
            body, complete = read_body(answer, sink)
            # Else http.client takes the connection for busy.
            answer.close()
            keep = complete and not answer.will_close
        finally:
            if not keep:
                self.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, names, body, parts.geturl())

    def _target(self, parts: SplitResult) -> str:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if self._proxy and parts.scheme == "http":
            return f"http://{authority_of(parts)}{path}"
        return path

    def _headers(self, parts: SplitResult, headers: Mapping[str, str]) -> dict[str, str]:
        found = dict(headers)
        if parts.username and "Authorization" not in found:
            found["Authorization"] = basic(parts)
        if self._proxy and self._proxy.username and parts.scheme == "http":
            found["Proxy-Authorization"] = basic(self._proxy)
        return found

    def _connected(self, parts: SplitResult, deadline: float) -> tuple[Origin, http.client.HTTPConnection, Wire]:
        origin = scheme, host, port = origin_of(parts)
        connection = http.client.HTTPConnection(host, port)
        # So that the Host header leaves out the usual port.
        connection.default_port = DEFAULT_PORTS[scheme]
        connection.auto_open = 0
        stream = self._dial_proxy(self._proxy, deadline) if self._proxy else self._dial(host, port, deadline)
        if scheme == "https":
            if self._proxy:
                self._tunnel(Wire(stream, deadline), parts, self._proxy)
            stream = self._wrapped(stream, host, deadline)
        wire = Wire(stream, deadline)
        connection.sock = wire
        return origin, connection, wire

    def _dial(self, host: str, port: int, deadline: float) -> socket.socket:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found.sort(key=lambda entry: entry[4] != self._good_address)
        problem: OSError = OSError("no address")
        for index, (family, kind, protocol, _name, address) in enumerate(found):
            stream = socket.socket(family, kind, protocol)
            try:
                # A dead address, often IPv6, must leave time for the next.
                stream.settimeout(seconds_left(deadline) / (len(found) - index))
                stream.connect(address)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                stream.close()
                problem = error
            else:
                self._good_address = address
                return stream
        raise problem

    def _dial_proxy(self, proxy: SplitResult, deadline: float) -> socket.socket:
        _scheme, host, port = origin_of(proxy)
        stream = self._dial(host, port, deadline)
        return self._wrapped(stream, host, deadline) if proxy.scheme == "https" else stream

    def _tunnel(self, wire: Wire, parts: SplitResult, proxy: SplitResult) -> None:
        _scheme, host, port = origin_of(parts)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        pass_phrase = f"Proxy-Authorization: {basic(proxy)}\r\n" if proxy.username else ""
        wire.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{pass_phrase}\r\n".encode("ascii"))
        answer = http.client.HTTPResponse(typing.cast(socket.socket, wire), method="CONNECT")
        answer.begin()
        if answer.status != 200:
            wire.hang_up()
            raise TransportError("connect", f"the proxy does not let us through (HTTP {answer.status})")

    def _wrapped(self, stream: socket.socket, host: str, deadline: float) -> socket.socket:
        if self._context is None:
            self._context = ssl.create_default_context()
        stream.settimeout(seconds_left(deadline))
        try:
            if isinstance(stream, ssl.SSLSocket):
                # TLS through a proxy that itself speaks TLS: the socket module cannot, and few need it.
                ssltransport = importlib.import_module("urllib3.util.ssltransport")
                return typing.cast(socket.socket, ssltransport.SSLTransport(stream, self._context, server_hostname=host))
            return self._context.wrap_socket(stream, server_hostname=host)
        except BaseException:
            stream.close()
            raise


def read_body(answer: http.client.HTTPResponse, sink: Sink | None) -> tuple[bytes, bool]:
    """The body, and whether it was read to its end. Raises `TransportError` for one that is too large."""
    if sink is None:
        body = answer.read(LARGEST_BODY_BYTES + 1)
        if len(body) > LARGEST_BODY_BYTES:
            raise TransportError("invalid", "its answer is larger than 1 MiB")
        return body, True
    if answer.status != 200:
        return b"", answer.length == 0
    return b"", all(sink(block) for block in unpacked(answer))


def unpacked(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in blocks, without the packing that its Content-Encoding names, as FFmpeg takes it off.

    A packing that FFmpeg does not know is left on. Raises `TransportError` for a body that ends too soon or is packed wrongly.
    """
    packing = answer.headers.get("Content-Encoding", "").strip().lower()
    # 47: gzip or zlib, as the bytes themselves tell.
    unpacker = zlib.decompressobj(47) if packing in ("gzip", "x-gzip", "deflate") else None
    while block := answer.read1(BLOCK_BYTES):
        if unpacker is None:
            yield block
            continue
        try:
            while block and not unpacker.eof:
                yield unpacker.decompress(block, BLOCK_BYTES)
                block = unpacker.unconsumed_tail
        except zlib.error as error:
            raise TransportError("invalid", "its answer is not packed as it says") from error
    if unpacker is not None:
        yield unpacker.flush()
    if answer.length:
        raise TransportError("connect", "the connection was broken off")


@contextlib.contextmanager
def translated(deadline: float) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into a `TransportError` with words of our own."""
    began = time.monotonic()
    try:
        yield
    except TimeoutError as error:
        raise TransportError("timeout", f"no answer within {max(deadline - began, 0):.3g} s") from error
    except socket.gaierror as error:
        raise TransportError("dns", "its name cannot be looked up") from error
    except ssl.SSLCertVerificationError as error:
        text = f"its certificate is not accepted ({error.verify_message}); is the clock right?"
        raise TransportError("tls", text) from error
    except ssl.SSLError as error:
        raise TransportError("tls", "no secure connection can be made") from error
    except ConnectionRefusedError as error:
        raise TransportError("connect", "the connection is refused", is_refused=True) from error
    except ConnectionError as error:
        raise TransportError("connect", "the connection was broken off") from error
    except OSError as error:
        raise TransportError("connect", f"no connection ({error.strerror or type(error).__name__})") from error
    except (http.client.HTTPException, ValueError) as error:
        raise TransportError("invalid", "its answer is not HTTP as it should be") from error


def within(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` gives or raises; it runs in a thread that is left behind when its time is over, for programs that end soon.

    That bounds what has no timeout of its own, such as a name lookup. Raises `TransportError` when it takes longer.
    """
    results: list[Result] = []
    problems: list[Exception] = []

    def carry_out() -> None:
        try:
            results.append(work())
        except Exception as error:
            problems.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    raise problems[0] if problems else TransportError("timeout", f"no answer within {seconds:g} s")


def seconds_left(deadline: float) -> float:
    """Raises `TimeoutError` when nothing is left."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def origin_of(parts: SplitResult) -> Origin:
    """Scheme, host, port. Raises `ValueError` for a URL without a host or with a bad port."""
    if not parts.hostname:
        raise ValueError("no host")
    return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme]


def redirect_of(response: Response, url: str) -> str:
    """Where a response sends us on to, "" when it does not. Raises `TransportError` for what is no web address."""
    location = response.headers.get("location", "")
    if response.status not in REDIRECTS or not location:
        return ""
    # http.client reads headers as Latin-1, whatever the bytes are.
    target = urljoin(url, quote(location.encode("latin-1"), safe=SAFE))
    if urlsplit(target).scheme not in ("http", "https"):
        raise TransportError("3xx", "it sends us to an address that is no web address")
    return target


def encoded(url: str) -> str:
    """`url` with letters beyond ASCII and blanks percent-encoded, those of its host in Punycode; what is encoded stays so."""
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
