"""The API's middleware: request ids, one log line per request, the token, and checks of the size, duration and JSON of bodies.

Part of livekeep-controller; ASGI applications, outermost first: `ApiEntrance`, CORS when it is configured, `Guard`.
"""

import asyncio
import hmac
import json
import logging
import re
import uuid
from contextvars import ContextVar
from typing import Any

from starlette.responses import JSONResponse

from livekeep.system.asgi import App, Entrance, Header, Message, Receive, Scope, Send, header
from livekeep.system.http_server import Protocol
from livekeep.system.loopback import is_loopback_name

LARGEST_BYTES = 64 * 1024
DISCARDED_BYTES = 1024 * 1024
"""How much more is read and discarded, so that the sender gets to read the response."""
BODY_SECONDS = 5.0
DEEPEST = 32
OPEN_PATHS = ("/health", "/openapi.json")
"""They need no token: they don't reveal what is on air, and are the same on every machine."""
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

request_id: ContextVar[str] = ContextVar("request_id", default="")
logger = logging.getLogger("livekeep.controller")


class WithRequestId(logging.Filter):
    """Appends the id of the current request to each line logged for it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if identity := request_id.get():
            record.msg, record.args = f"{record.getMessage()} [{identity}]", ()
        return True


def error_document(error_type: str, message: str, field: str | None = None) -> dict[str, Any]:
    """The format of all errors."""
    error = {"type": error_type, "message": message} | ({"field": field} if field else {})
    return {"error": error, "request_id": request_id.get()}


class RejectedError(Exception):
    """A rejected request: the status, a code for programs, and a sentence."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type = status, error_type


def id_for(given: str) -> str:
    """The id of a request: the sender's if it is valid, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def depth_of(document: Any, depth: int = 0) -> int:
    inner = list(document.values()) if isinstance(document, dict) else document if isinstance(document, list) else []
    return depth if depth > DEEPEST else max((depth_of(one, depth + 1) for one in inner), default=depth)


async def read_body(receive: Receive) -> bytes:
    """A request's whole body. Raises `RejectedError` when it is too large, too slow, or incomplete."""
    body, total = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise RejectedError(400, "broken-off", "the request ended within its body")
                part = message.get("body", b"")
                total += len(part)
                if total <= LARGEST_BYTES:
                    body += part
                if not message.get("more_body") or total > LARGEST_BYTES + DISCARDED_BYTES:
                    break
    except TimeoutError as error:
        raise RejectedError(408, "too-slow", f"the body did not arrive within {BODY_SECONDS:g} s") from error
    if total > LARGEST_BYTES:
        raise RejectedError(413, "too-large", f"a body may have at most {LARGEST_BYTES} bytes")
    return bytes(body)


def check_json(scope: Scope, body: bytes) -> None:
    """Raises `RejectedError` for a body that is not a JSON object, with each field once and without values that JSON lacks."""
    kind = header(scope, b"content-type").partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise RejectedError(415, "no-json", "the body must be JSON: Content-Type: application/json")

    def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _value in members]
        if len(set(names)) < len(names):
            raise ValueError("a field occurs twice")
        return dict(members)

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is not a number")

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=unique, parse_constant=constant)
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
        fault = "it is nested too deep" if depth_of(document) > DEEPEST else ""
    except RecursionError:
        fault = "it is nested too deep"
    except UnicodeError:
        fault = "it is not UTF-8 text"
    except ValueError as error:
        fault = str(error)
    if fault:
        raise RejectedError(422, "invalid", f"the body is not valid JSON: {fault}")
    if not isinstance(document, dict):
        raise RejectedError(422, "invalid", "the body must be an object, such as {}")


class ApiEntrance(Entrance):
    """Gives each request its id."""

    def __init__(self, app: App) -> None:
        async def bug(scope: Scope, receive: Receive, send: Send) -> None:
            text = "this is a bug in livekeep-controller; its journal shows where"
            await JSONResponse(error_document("bug", text), 500)(scope, receive, send)

        super().__init__(app, bug, logger)

    def begin(self, scope: Scope) -> list[Header]:
        request_id.set(id_for(header(scope, b"x-request-id")))
        return [*super().begin(scope), (b"cache-control", b"no-store"), (b"x-request-id", request_id.get().encode())]


class ApiProtocol(Protocol):
    """Reports malformed requests in the format of all errors."""

    @staticmethod
    def nonsense() -> tuple[str, bytes]:
        request_id.set(id_for(""))
        return "application/json", json.dumps(error_document("invalid", "invalid HTTP request")).encode()


class Guard:
    """Checks host name, body and token before the application runs.

    On loopback (`is_local`) it rejects requests for any other host name, to prevent DNS rebinding by a web page.
    """

    def __init__(self, app: App, token: str, is_local: bool = True) -> None:
        self.app = app
        self.token = token.encode()
        self.is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self.checked_body(scope, receive)
        except RejectedError as error:
            headers = {"www-authenticate": "Bearer"} if error.status == 401 else None
            rejection = JSONResponse(error_document(error.error_type, str(error)), error.status, headers)
            await rejection(scope, receive, send)
            return
        await self.app(scope, replay(body, receive), send)

    async def checked_body(self, scope: Scope, receive: Receive) -> bytes:
        """The body of an accepted request. Raises `RejectedError`."""
        host = header(scope, b"host")
        if self.is_local and host and not is_loopback_name(host):
            text = "only requests to localhost or 127.0.0.1 are served here; a web server in front must send that name"
            raise RejectedError(421, "wrong-host", text)
        body = await read_body(receive)
        if scope["path"] not in OPEN_PATHS and not self.knows(header(scope, b"authorization")):
            text = "the header Authorization: Bearer TOKEN is missing or wrong"
            if not self.token:
                text = "no API token is set, so no request is accepted: sudo livekeep air set-api-token"
            raise RejectedError(401, "no-token", text)
        if body and scope["method"] in ("POST", "PUT", "PATCH"):
            check_json(scope, body)
        return body

    def knows(self, authorization: str) -> bool:
        """Whether the request carries the token; compares in constant time."""
        scheme, _, given = authorization.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("latin-1"), self.token)
        return is_right and scheme.lower() == "bearer" and bool(self.token)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns `body` again, then later messages."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
