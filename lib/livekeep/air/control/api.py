"""The HTTP API: its paths, its errors, and the OpenAPI document at /openapi.json.

Part of livekeep-controller. `api_actions` handles the requests, `api_models` holds the models; `api_middleware` checks token and
bodies.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match

from livekeep import __version__
from livekeep.air.control import api_models as models
from livekeep.air.control.api_actions import ApiActions, RefusedError
from livekeep.air.control.api_middleware import ApiEntrance, Guard, error_document
from livekeep.core.errors import TemporaryError
from livekeep.system.asgi import App
from livekeep.system.dbus import BusError

Responses = dict[int | str, dict[str, Any]]

MEANINGS = {
    400: "The request is incomplete.",
    401: "The token is missing or wrong.",
    403: "controller.allowed_ingests or controller.allowed_media doesn't allow the channel.",
    404: "The channel does not exist, or isn't running.",
    408: "The body did not arrive in time.",
    409: "The channel is already running, isn't running, or is configured in livekeep.toml.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "The header Host names another machine, and the API listens only on this one.",
    422: "The request is invalid; `field` names the cause.",
    424: "The worker did not start; the message gives the reason.",
    500: "A bug.",
    503: "systemd does not respond, or refuses.",
    507: "The disk is full or not writable.",
}
ALWAYS = (400, 401, 408, 413, 421, 422, 500)
DESCRIPTION = """Puts channels on air and shows their state.

All paths except /health and /openapi.json need the header `Authorization: Bearer TOKEN`; the token is in
/etc/credstore/livekeep.api-token. Each response has the header `X-Request-ID`: the one of the request, or a new one. All errors
have the same format. If there is only one channel, you can omit `channel`."""
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
KEY_OF_FAULT = re.compile(r"([A-Za-z_][\w-]*): ")


def errors(*statuses: int) -> Responses:
    wanted = sorted({*statuses, *ALWAYS})
    return {status: {"model": models.ErrorAnswer, "description": MEANINGS[status]} for status in wanted}


def with_examples(**bodies: Any) -> dict[str, Any]:
    """Examples of a body, for the OpenAPI document."""
    shown = {name.replace("_", " "): {"value": value} for name, value in bodies.items()}
    return {"requestBody": {"content": {"application/json": {"examples": shown}}}}


def application(actions: ApiActions) -> FastAPI:
    """The application's paths and errors."""
    app = FastAPI(
        title="livekeep",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_tags=[
            {"name": "streams", "description": "Channels on air."},
            {"name": "channels", "description": "The configured channels."},
        ],
    )
    # A redirect would contain the Host header that the client sent.
    app.router.redirect_slashes = False
    for error in (RefusedError, TemporaryError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, error_response)

    def add(
        method: str, path: str, endpoint: Callable[..., Awaitable[Any]], model: Any, responses: Responses, **more: Any
    ) -> None:
        tags = [path.split("/")[1]] if path != "/health" else None
        # For the OpenAPI document only: the token is checked earlier.
        needs = [Depends(HTTPBearer(auto_error=False))] if tags else []
        app.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=model,
            responses=responses,
            tags=tags,
            operation_id=endpoint.__name__,
            dependencies=needs,
            **more,
        )

    stop = {"the_only_channel": {}, "one_of_several": {"channel": "main"}}
    start = stop | {"a_new_one": {"channel": "lectures", "stream_config": models.EXAMPLE}}
    common = (404, 503, 507)
    down: Responses = {503: {"model": models.Health, "description": "systemd does not respond."}}
    later: Responses = {202: {"model": models.ChannelStatus, "description": "systemd is still starting the worker."}}
    new: Responses = {201: {"model": models.ConfiguredChannel, "description": "A new channel."}}
    status, starting = models.ChannelStatus, errors(*common, 403, 409, 415, 424) | later
    add("GET", "/health", actions.health, models.Health, down)
    add("POST", "/streams/start", actions.start, status, starting, openapi_extra=with_examples(**start))
    add("POST", "/streams/stop", actions.stop, status, errors(*common, 409, 415), openapi_extra=with_examples(**stop))
    add("GET", "/streams/status", actions.status, models.Statuses, errors(*common))
    add("GET", "/streams/{channel}/items", actions.items, models.Items, errors(*common))
    add("POST", "/streams/{channel}/skip", actions.skip, models.Skipped, errors(*common, 409, 415))
    add("GET", "/channels", actions.channels, models.Channels, errors(507))
    add("PUT", "/channels/{channel}", actions.put, models.ConfiguredChannel, errors(403, 409, 415, 507) | new)
    gone = errors(*common, 409)
    add("DELETE", "/channels/{channel}", actions.delete, None, gone, status_code=204, response_class=Response)
    return app


async def error_response(request: Request, error: Exception) -> JSONResponse:
    """The response to each kind of error, in one format."""
    match error:
        case RefusedError():
            return JSONResponse(error_document(error.error_type, str(error), error.field), error.status)
        case BusError():
            return JSONResponse(error_document("systemd", str(error)), 503, {"retry-after": "5"})
        case TemporaryError():
            return JSONResponse(error_document("storage", str(error)), 507)
        case RequestValidationError():
            text, field = invalid_field(error)
            return JSONResponse(error_document("invalid", text, field), 422)
    # Errors from the framework: unknown path, wrong method, invalid body.
    assert isinstance(error, HTTPException)  # noqa: S101 – for the type checker
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["allow"] = ", ".join(allowed_methods(request))
    kind = {404: "unknown-path", 405: "unknown-method"}.get(error.status_code, "invalid")
    return JSONResponse(error_document(kind, str(error.detail)), error.status_code, headers)


def invalid_field(error: RequestValidationError) -> tuple[str, str]:
    """The text of the first error in a body, a query or a path, and its field."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"]]
    text = str(fault["msg"]).removeprefix("Value error, ")
    names = where[1:] if where[0] in ("body", "query", "path") else where
    if names[-1:] in (["stream_config"], []) and (key := KEY_OF_FAULT.match(text)):
        names = [*names, key[1]]
    return text, ".".join(names) or where[0]


def allowed_methods(request: Request) -> list[str]:
    """The methods of the request's path."""
    methods: set[str] = set()
    for method in METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] == Match.FULL for route in request.app.router.routes):
            methods |= {method, "HEAD"} if method == "GET" else {method}
    return sorted(methods)


def entrance_for(actions: ApiActions, token: str, origins: tuple[str, ...], is_local: bool = True) -> ApiEntrance:
    """The whole application including its middleware; `is_local`: whether it listens on loopback only."""
    app: App = Guard(application(actions), token, is_local)
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=[origin.rstrip("/") for origin in origins],
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id"],
        )
    return ApiEntrance(app)
