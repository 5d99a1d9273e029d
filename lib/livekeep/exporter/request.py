"""HTTP requests as they come over the wire: read strictly, without a body. Pure. Sources: RFC 9110, RFC 9112."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LARGEST_BYTES = 8192
"""Of the request line and the headers together."""
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 – a word of the protocol
REQUEST_LINE = re.compile(rf"({TOKEN}) (\S+) HTTP/([0-9])\.([0-9])")
HEADER = re.compile(rf"({TOKEN}):[ \t]*(.*?)[ \t]*")
ABSOLUTE = re.compile(r"https?://[^/?#]+", re.IGNORECASE)
TLS_HANDSHAKE = b"\x16\x03"
METHOD_BEGINNING = re.compile(rf"({TOKEN}( .*)?)?\Z".encode())
"""What the beginning of a request line looks like."""
END = re.compile(rb"\r?\n\r?\n")


class RefusedError(ValueError):
    """A request that is answered by an error, and that ends its connection."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Request:
    """`headers` by their name in small letters; `keeps_alive`: whether the client wants to ask more on this connection."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_1_0: bool
    keeps_alive: bool
    has_body: bool
    host: str = ""
    """Whom the client thinks it asks; \"\" when it does not say."""


def take_head(received: bytearray) -> bytes | None:
    """Cut the first request off what was received; None while it is not whole. Raises `RefusedError` when it is too long."""
    # Some clients send an empty line behind a request.
    while received.startswith((b"\r", b"\n")):
        del received[:1]
    end = END.search(received)
    if (end.start() if end else len(received)) > LARGEST_BYTES:
        raise RefusedError(431, f"the request has more than {LARGEST_BYTES} bytes")
    if not end:
        check_beginning(received)
        return None
    head = bytes(received[: end.start()])
    del received[: end.end()]
    return head


def check_beginning(received: bytearray) -> None:
    """Refuse at once what cannot become a request: its client would wait for an answer. Raises `RefusedError`."""
    if received.startswith(TLS_HANDSHAKE):
        raise RefusedError(400, "plain HTTP is spoken here, not HTTPS: the address begins with http://")
    first, newline, _ = received.partition(b"\n")
    if newline or not METHOD_BEGINNING.match(first):
        parsed_first_line(first.decode("latin-1").removesuffix("\r"))


def parsed_first_line(first: str) -> tuple[str, str, str, str]:
    """Method, target, and the two numbers of the version. Raises `RefusedError`."""
    found = REQUEST_LINE.fullmatch(first)
    if not found:
        raise RefusedError(400, "this is no HTTP request")
    method, target, major, minor = found.groups()
    if major != "1":
        raise RefusedError(505, "HTTP/1.1 and HTTP/1.0 are spoken here")
    return method, target, major, minor


def parse(head: bytes) -> Request:
    """Raises `RefusedError`."""
    first, *lines = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    method, target, _major, minor = parsed_first_line(first)
    headers = headers_of(lines)
    is_1_0 = minor == "0"
    if not is_1_0 and "host" not in headers:
        raise RefusedError(400, "the header Host is missing")
    options = {option.strip().lower() for option in headers.get("connection", "").split(",")}
    keeps_alive = "close" not in options and (not is_1_0 or "keep-alive" in options)
    return Request(method, path_of(target), headers, is_1_0, keeps_alive, has_body(headers), host_of(target, headers))


def headers_of(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = HEADER.fullmatch(line)
        if not found:
            raise RefusedError(400, "a header line is not one")
        name, value = found[1].lower(), found[2]
        if name in headers and name in ("host", "content-length"):
            raise RefusedError(400, f"the header {found[1]} is there twice")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def host_of(target: str, headers: Mapping[str, str]) -> str:
    """The server's name before the path, which counts before the header."""
    server = ABSOLUTE.match(target)
    return server[0].partition("://")[2] if server else headers.get("host", "")


def path_of(target: str) -> str:
    """The path of a target, with or without the server's name before it."""
    server = ABSOLUTE.match(target)
    path = re.split(r"[?#]", target[server.end() :] if server else target, maxsplit=1)[0]
    if server and not path:
        return "/"
    if not path.startswith("/"):
        raise RefusedError(400, "the request's target is no path")
    return path


def has_body(headers: Mapping[str, str]) -> bool:
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]+", length):
        raise RefusedError(400, "the header Content-Length is no number")
    return int(length[:20]) > 0 or "transfer-encoding" in headers


def accepts_gzip(request: Request) -> bool:
    wishes = {name: quality for name, _parameters, quality in weighed(request.headers.get("accept-encoding", ""))}
    return wishes.get("gzip", wishes.get("*", 0.0)) > 0


def accepts_openmetrics(request: Request) -> bool:
    """Whether OpenMetrics 1.0.0 is asked for, and not less than the older text format."""
    openmetrics = text = 0.0
    for name, parameters, quality in weighed(request.headers.get("accept", "")):
        if name == "application/openmetrics-text" and parameters.get("version", "1.0.0") == "1.0.0":
            openmetrics = max(openmetrics, quality)
        elif name == "text/plain":
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def weighed(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """The choices of a header such as Accept: name, parameters, and how much it is wished for, 0 for not at all."""
    for choice in header.lower().split(","):
        name, *rest = (part.strip() for part in choice.split(";"))
        parameters = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in rest)}
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 0.0
        yield name, parameters, quality
