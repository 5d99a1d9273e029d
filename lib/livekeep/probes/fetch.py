"""HTTP by the standard library for one look: a limit on the body, few redirects, and a deadline over everything.

The deadline is kept from outside, by system.http.within. Texts hold no URL, and nothing that a server sent.
"""

import base64
import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from livekeep import __version__
from livekeep.core.errors import TemporaryError

MOST_REDIRECTS = 3
FAULTS: dict[type[Exception], str] = {
    socket.gaierror: "its name cannot be looked up",
    ssl.SSLError: "no secure connection can be made",
    ConnectionRefusedError: "the connection is refused",
    ConnectionError: "the connection was broken off",
    http.client.HTTPException: "its answer is not HTTP as it should be",
    ValueError: "its address cannot be used",
}
"""The first that fits."""
PROXY_REFUSED = "the proxy does not let us through"
PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}


class FetchError(TemporaryError):
    """No usable answer; the text ends a sentence such as "the playlist cannot be read: …"."""


class RefusedStatusError(FetchError):
    """An answer with a status other than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}" + ("; has its signature expired?" if status == 403 else ""))
        self.status = status


@contextlib.contextmanager
def opened(url: str, proxy: str, seconds: float) -> Iterator[tuple[http.client.HTTPResponse, str]]:
    """The answer of status 200 whose body is to be read, and where it came from after redirects.

    Raises `FetchError`, and what sockets, TLS and HTTP raise: `fault` puts that into words.
    """
    for _ in range(MOST_REDIRECTS + 1):
        connection, target, headers = connection_to(url, proxy, seconds)
        with contextlib.closing(connection):
            connection.request("GET", target, headers=headers)
            with connection.getresponse() as answer:
                if answer.status == 200:
                    yield answer, url
                    return
                location = answer.getheader("Location") if answer.status in (301, 302, 303, 307, 308) else None
        if not location:
            raise RefusedStatusError(answer.status)
        url = urljoin(url, location)
    raise FetchError("it sends us on and on to other addresses")


def connection_to(url: str, proxy: str, seconds: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """A connection that opens at its first request, the request's target and its headers. Raises `FetchError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("it sends us to an address that is no web address")
    headers = {"User-Agent": f"livekeep/{__version__}", "Accept": "*/*", "Connection": "close"}
    if parts.username:
        headers["Authorization"] = basic(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not proxy:
        return open_later(parts, parts.scheme, seconds), target, headers
    by = urlsplit(proxy)
    secret = {"Proxy-Authorization": basic(by)} if by.username else {}
    if parts.scheme == "http":
        address = parts.netloc.rpartition("@")[2]
        return open_later(by, by.scheme, seconds), f"http://{address}{target}", headers | secret
    if by.scheme == "https":
        raise FetchError("this probe cannot go through a proxy that is itself spoken to by https")
    connection = open_later(by, "https", seconds)
    connection.set_tunnel(parts.hostname, parts.port or PORTS["https"], secret)
    return connection, target, headers


def open_later(parts: SplitResult, scheme: str, seconds: float) -> http.client.HTTPConnection:
    host, port = address_of(parts)
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=seconds)


def connect(url: str, seconds: float) -> None:
    """See whether the server of any kind of stream takes connections. Raises `FetchError`."""
    try:
        socket.create_connection(address_of(urlsplit(url)), seconds).close()
    except (OSError, ValueError) as error:
        raise FetchError(fault(error, seconds)) from error


def address_of(parts: SplitResult) -> tuple[str, int]:
    """Host and port. Raises `ValueError` for a URL without a host, of an unknown scheme or with a bad port."""
    if not parts.hostname or parts.scheme not in PORTS:
        raise ValueError("no host")
    return parts.hostname, parts.port or PORTS[parts.scheme]


def fault(error: Exception, seconds: float) -> str:
    """What sockets, TLS and HTTP raise, in words of our own."""
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message}); is the clock right?"
    for kind, text in FAULTS.items():
        if isinstance(error, kind):
            return text
    # http.client has no number for a proxy that refuses.
    return f"no connection ({error.strerror})" if isinstance(error, OSError) and error.strerror else PROXY_REFUSED


def basic(parts: SplitResult) -> str:
    """The header for a URL's user and password (RFC 7617)."""
    words = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(words.encode()).decode('ascii')}"
