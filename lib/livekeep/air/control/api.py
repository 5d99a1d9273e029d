"""The HTTP API: its paths, requests and responses, and the OpenAPI document at /openapi.json.

Part of livekeep-controller. `api_actions` carries out the requests, `api_models` holds the models; `api_middleware` checks token
and bodies.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Body, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Match

from livekeep import __version__
from livekeep.air.control import api_models as models
from livekeep.air.control.api_actions import ApiActions, RefusedError
from livekeep.air.control.api_middleware import ApiEntrance, Door, Guard, error_document
from livekeep.air.control.api_models import ChannelKeys, ChannelName, StartBody, StopBody
from livekeep.core.errors import TemporaryError
from livekeep.system.asgi import App
from livekeep.system.dbus import BusError

MEANINGS = {
    400: "The request breaks off.",
    401: "The token is missing or wrong.",
    404: "There is no such channel, or it does not run.",
    408: "The body did not come in time.",
    403: "Beyond what controller.allowed_ingests and controller.allowed_media let channels of the API do.",
    409: "It runs already, or not, or it is configured in livekeep.toml.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "Host names another machine than this one, on which alone the API listens.",
    422: "Something in the request is wrong; `field` names it.",
    424: "The worker did not start; the message says why.",
    500: "A bug.",
    503: "systemd cannot be asked, or refuses.",
    507: "The intention, or the channel, cannot be written to the disk.",
}
ALWAYS = (400, 401, 408, 413, 421, 422, 500)
DESCRIPTION = """Puts channels on air and shows how they are.

Every path but /health and /openapi.json asks for the header `Authorization: Bearer TOKEN`; the token lies in
/etc/credstore/livekeep.api-token. Every answer has the header `X-Request-ID`: the request's own, or a new one. Every error has
one shape. Without "channel", the only channel there is is meant."""
START_BODY, STOP_BODY, KEYS_BODY = Body(StartBody()), Body(StopBody()), Body(...)
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
KEY_OF_FAULT = re.compile(r"([A-Za-z_][\w-]*): ")


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    wanted = sorted({*statuses, *ALWAYS})
    return {status: {"model": models.ERROR_ANSWER, "description": MEANINGS[status]} for status in wanted}


def in_the_document(**examples: Any) -> dict[str, Any]:
    """Examples of a body, for the OpenAPI document."""
    shown = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
    return {"requestBody": {"content": {"application/json": {"examples": shown}}}}


STOP = in_the_document(the_only_channel={}, one_of_several={"channel": "main"})
NEW = {"channel": "lectures", "stream_config": models.EXAMPLE}
START = in_the_document(the_only_channel={}, one_of_several={"channel": "main"}, a_new_one=NEW)
LATER: dict[int | str, dict[str, Any]] = {202: {"model": models.STATUS, "description": "systemd is starting it still."}}


class Api:
    """The application's paths. `actions` makes all responses except errors."""

    def __init__(self, actions: ApiActions) -> None:
        self.actions = actions
        self.app = FastAPI(
            title="livekeep",
            version=__version__,
            description=DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            openapi_tags=[{"name": "streams", "description": "On air."}, {"name": "channels", "description": "What there is."}],
        )
        # A redirect would contain the Host header that the client sent.
        self.app.router.redirect_slashes = False
        self._add_errors()
        self._add_paths()

    def _add_errors(self) -> None:
        self.app.add_exception_handler(RefusedError, refused)
        self.app.add_exception_handler(BusError, unavailable)
        self.app.add_exception_handler(TemporaryError, unwritable)
        self.app.add_exception_handler(RequestValidationError, invalid)
        self.app.add_exception_handler(HTTPException, self.unknown)

    def _add_paths(self) -> None:
        unhealthy: dict[int | str, dict[str, Any]] = {503: {"model": models.HEALTH, "description": "systemd cannot be asked."}}
        self._add("GET", "/health", self.health, models.HEALTH, unhealthy, dependencies=[])
        common = (404, 503, 507)
        self._add(
            "POST",
            "/streams/start",
            self.start,
            models.STATUS,
            errors(*common, 403, 409, 415, 424) | LATER,
            "streams",
            openapi_extra=START,
        )
        self._add("POST", "/streams/stop", self.stop, models.STATUS, errors(*common, 409, 415), "streams", openapi_extra=STOP)
        self._add("GET", "/streams/status", self.status, models.STATUSES, errors(*common), "streams")
        self._add("GET", "/streams/{channel}/items", self.items, models.ITEMS, errors(*common), "streams")
        self._add("POST", "/streams/{channel}/skip", self.skip, models.SKIPPED, errors(*common, 409, 415), "streams")
        self._add("GET", "/channels", self.channels, models.CHANNELS, errors(507), "channels")
        put = errors(403, 409, 415, 507) | {201: {"model": models.CONFIGURED, "description": "A new channel."}}
        self._add("PUT", "/channels/{channel}", self.put, models.CONFIGURED, put, "channels")
        gone = errors(*common, 409)
        self._add("DELETE", "/channels/{channel}", self.delete, None, gone, "channels", status_code=204, response_class=Response)

    def _add(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Awaitable[Any]],
        model: Any,
        responses: dict[int | str, dict[str, Any]],
        tag: str = "",
        **more: Any,
    ) -> None:
        self.app.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=model,
            responses=responses,
            tags=[tag] if tag else None,
            operation_id=endpoint.__name__,
            # For the OpenAPI document only: the token is checked earlier.
            **({"dependencies": [Depends(HTTPBearer(auto_error=False))]} | more),
        )

    async def health(self, response: Response) -> dict[str, str]:
        """Whether all that is meant to be on air is: ok, degraded, or down when systemd cannot be asked. Needs no token."""
        try:
            return {"status": await self.actions.health(), "version": __version__}
        except BusError:
            response.status_code = 503
            return {"status": "down", "version": __version__}

    async def start(self, response: Response, body: StartBody = START_BODY) -> dict[str, Any]:
        """Put a channel on air, now and after every reboot.

        `stream_config` adds the API's channel of that name first, or replaces it. Answers when its worker is up, or has ended
        (424). It is not on air yet then: ask for its status.
        """
        has_ended, status = await self.actions.start(body.channel, body.stream_config)
        response.status_code = 200 if has_ended else 202
        return status

    async def stop(self, body: StopBody = STOP_BODY) -> dict[str, Any]:
        """Take a channel off air, also for after a reboot."""
        return await self.actions.stop(body.channel)

    async def status(self, channel: ChannelName | None = None) -> dict[str, Any]:
        """How a channel is, or all of them."""
        return {"channels": await self.actions.all(channel)}

    async def items(self, channel: ChannelName) -> dict[str, Any]:
        """What a channel plays, played, and plays next."""
        return await self.actions.items(channel)

    async def skip(self, channel: ChannelName) -> dict[str, Any]:
        """End the item that is played, and go on with the next."""
        return await self.actions.skip(channel)

    async def channels(self) -> dict[str, Any]:
        """The channels that are configured, in livekeep.toml or by this API."""
        return {"channels": await self.actions.configured()}

    async def put(self, response: Response, channel: ChannelName, keys: ChannelKeys = KEYS_BODY) -> dict[str, Any]:
        """Add a channel, or replace one of this API. One that runs plays on as it is until it starts again."""
        is_new, configured = await self.actions.put(channel, keys)
        response.status_code = 201 if is_new else 200
        return configured

    async def delete(self, channel: ChannelName) -> None:
        """Forget a channel of this API. It must not run."""
        await self.actions.delete(channel)

    async def unknown(self, request: Request, error: HTTPException) -> JSONResponse:
        """Errors from the framework: unknown path, wrong method, invalid body."""
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["allow"] = ", ".join(self.allowed(request))
        kind = {404: "unknown-path", 405: "unknown-method"}.get(error.status_code, "invalid")
        return JSONResponse(error_document(kind, str(error.detail)), error.status_code, headers)

    def allowed(self, request: Request) -> list[str]:
        """The methods of the request's path."""
        methods: set[str] = set()
        for method in METHODS:
            scope = {**request.scope, "method": method}
            if any(route.matches(scope)[0] == Match.FULL for route in self.app.router.routes):
                methods |= {method, "HEAD"} if method == "GET" else {method}
        return sorted(methods)


async def refused(_: Request, error: RefusedError) -> JSONResponse:
    return JSONResponse(error_document(error.error_type, str(error), error.field), error.status)


async def unavailable(_: Request, error: BusError) -> JSONResponse:
    return JSONResponse(error_document("systemd", str(error)), 503, {"retry-after": "5"})


async def unwritable(_: Request, error: TemporaryError) -> JSONResponse:
    return JSONResponse(error_document("storage", str(error)), 507)


async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """The first error in a body, a query or a path, with its field."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"]]
    text = str(fault["msg"]).removeprefix("Value error, ")
    names = where[1:] if where[0] in ("body", "query", "path") else where
    if names[-1:] in (["stream_config"], []) and (key := KEY_OF_FAULT.match(text)):
        names = [*names, key[1]]
    return JSONResponse(error_document("invalid", text, ".".join(names) or where[0]), 422)


def entrance_for(actions: ApiActions, token: str, origins: tuple[str, ...], is_local: bool = True) -> ApiEntrance:
    """The whole application including its middleware; `is_local`: whether it listens on loopback only."""
    app: App = Guard(Api(actions).app, token)
    if origins:
        app = CORSMiddleware(
            app,
            allow_origins=[origin.rstrip("/") for origin in origins],
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["x-request-id"],
        )
    return ApiEntrance(Door(app) if is_local else app)
