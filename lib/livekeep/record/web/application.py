"""The pages as one Starlette application: the routes of the pages, the files, the login, the WebSocket.

Part of livekeep-web. There is no API, hence Starlette without FastAPI, whose models would cost 16 MB and a third of the start
time. Slow work runs in two threads, so that a slow page does not block others.
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute

from livekeep.core import events, files
from livekeep.record.reading import NoRecordError
from livekeep.record.web import pages
from livekeep.record.web.address import View, view
from livekeep.record.web.assets import Assets
from livekeep.record.web.door import client_address, is_same_origin
from livekeep.record.web.live import Changes, Live
from livekeep.record.web.pages import Page
from livekeep.record.web.password import COOKIE, SESSION_SECONDS, Guesses, Password
from livekeep.record.web.rendering import Renderer
from livekeep.record.web.sources import Sources
from livekeep.status import snapshot
from livekeep.system.screen_picture import Camera

THREADS = 2
YEAR_SECONDS = 365 * 86400
LARGEST_FORM_BYTES = 8192
LARGEST_PICTURE_BYTES = 32 * 1024 * 1024
PICTURE_SECONDS = 10.0
"""The interval of screenshots while somebody reads the page Now."""
OWN_PATH = re.compile(r"/(?![/\\])[^\x00-\x1f\x7f]*")

logger = logging.getLogger("livekeep.web")


@dataclass
class Login:
    """What a login needs: the password, the wrong guesses, and a lock for one attempt at a time: each takes memory and time."""

    password: Password
    guesses: Guesses
    turn: asyncio.Semaphore


class Application:
    def __init__(self, sources: Sources, password: Password, guesses: Guesses, camera: Camera) -> None:
        self.sources, self.camera = sources, camera
        self.login_ = Login(password, guesses, asyncio.Semaphore(1))
        self.assets = Assets()
        self.renderer = Renderer(asset=self.assets.address, menu=pages.MENU, has_login=password.is_set)
        self.executor, self.slow = ThreadPoolExecutor(THREADS, "pages"), ThreadPoolExecutor(1, "reports")
        self.live = Live(Changes(sources.record, sources.states), self.fragments, self.executor, self.attend)
        self._picture_at = -PICTURE_SECONDS
        self.app = Starlette(
            routes=[
                Route("/static/{tag}/{name}", self.static),
                Route("/favicon.ico", self.icon),
                Route("/login", self.show_login, methods=["GET"]),
                Route("/login", self.log_in, methods=["POST"]),
                Route("/logout", self.log_out, methods=["POST"]),
                Route("/screen.png", self.picture),
                WebSocketRoute("/live", self.live.serve),
                Route("/{path:path}", self.page, methods=["GET"]),
            ]
        )
        # A redirect would use the Host that the client sent.
        self.app.router.redirect_slashes = False

    # Pages

    async def page(self, request: Request) -> Response:
        match = find(request.url.path)
        if not match:
            return self._notice(404, "There is no such page", "See the menu for those that there are.")
        page, parameters = match
        if page.has_picture:
            self._take_picture()
        wanted = view(request.url.path, request.url.query, time.time(), page.default_range)
        executor = self.slow if page.is_slow else self.executor
        return await asyncio.get_running_loop().run_in_executor(executor, self._render, page, wanted, parameters)

    def _render(self, page: Page, wanted: View, parameters: Mapping[str, str]) -> Response:
        try:
            content = page.collect(self.sources, wanted, **parameters)
        except NoRecordError as error:
            return self._notice(503, error.sentence[:1].upper() + error.sentence[1:], error.advice, page)
        except pages.NotThereError as error:
            return self._notice(404, str(error), "It may be older than what the record keeps.", page)
        if isinstance(content, pages.Download):
            return Response(content.content, headers={"Content-Type": content.content_type, **content.headers()})
        return HTMLResponse(self.renderer.page(page.template, {**context(page, wanted), **content}))

    def _notice(self, status: int, title: str, text: str, page: Page | None = None) -> Response:
        wanted = view("/", "", time.time())
        values = context(page or pages.PAGES[0], wanted) | {"title": title, "notice": text}
        return HTMLResponse(self.renderer.page("notice.html", values), status)

    def fragments(self, address: str) -> Mapping[str, str]:
        """The current fragments of the page at an address; none if the page or the record is absent."""
        path, _, query = address.partition("?")
        match = find(path)
        if not match:
            return {}
        page, parameters = match
        wanted = view(path, query, time.time(), page.default_range)
        try:
            collected = page.collect(self.sources, wanted, **parameters)
        except (NoRecordError, pages.NotThereError):
            return {}
        if isinstance(collected, pages.Download):
            return {}
        return self.renderer.fragments(page.template, {**context(page, wanted), **collected})

    # Files

    async def static(self, request: Request) -> Response:
        asset = self.assets.get(request.path_params["name"])
        if not asset or request.path_params["tag"] != asset.tag:
            return Response("there is no such file\n", 404)
        headers = {
            "Cache-Control": f"public, max-age={YEAR_SECONDS}, immutable",
            "ETag": f'"{asset.tag}"',
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.compressed, media_type=asset.content_type, headers=headers | {"Content-Encoding": "gzip"})
        return Response(asset.content, media_type=asset.content_type, headers=headers)

    async def icon(self, request: Request) -> Response:
        return RedirectResponse(self.assets.address("icon.svg"))

    async def picture(self, request: Request) -> Response:
        """The newest screenshot; one requested by its stamp may be cached."""
        try:
            content = await asyncio.to_thread(files.read, self.camera.file, LARGEST_PICTURE_BYTES)
        except OSError:
            return Response("there is no picture yet\n", 404)
        kept = f"private, max-age={YEAR_SECONDS}" if request.query_params.get("of") else "no-store"
        return Response(content, media_type="image/png", headers={"Cache-Control": kept})

    def attend(self, addresses: set[str]) -> None:
        """While pages are read: take screenshots for the page that shows them."""
        self.camera.one_pass(time.monotonic())
        if any((match := find(address.partition("?")[0])) and match[0].has_picture for address in addresses):
            self._take_picture()

    def _take_picture(self) -> None:
        now = time.monotonic()
        self.camera.one_pass(now)
        if now - self._picture_at >= PICTURE_SECONDS and snapshot.has_screen(self.sources.kept):
            self._picture_at = now
            self.camera.ask()

    # Login

    async def show_login(self, request: Request) -> Response:
        return self._login_page(200, "", own_path(request.query_params.get("next", "")))

    def _login_page(self, status: int, problem: str, wanted: str, wait_seconds: float = 0.0) -> Response:
        values = context(pages.PAGES[0], view("/", "", time.time())) | {"problem": problem, "next": wanted}
        headers = {"Retry-After": f"{wait_seconds:.0f}"} if wait_seconds else {}
        return HTMLResponse(self.renderer.page("login.html", values), status, headers=headers)

    async def log_in(self, request: Request) -> Response:
        if not is_same_origin(request.scope):
            return self._notice(403, "Not from another page", "Open this machine's own page, and log in there.")
        form = await form_of(request)
        address, wanted = client_address(request.scope), own_path(form.get("next", ""))
        login = self.login_
        async with login.turn:
            wait = login.guesses.wait_seconds(address, time.time())
            if wait:
                return self._login_page(429, f"Too many wrong passwords: wait {wait:.0f} s, then try again.", wanted, wait)
            is_right = await asyncio.to_thread(login.password.is_right, form.get("password", ""))
            if not is_right:
                login.guesses.note_failure(address, time.time())
        if not is_right:
            self._report_failure(address)
            return self._login_page(403, "That is not the password.", wanted)
        login.guesses.note_success(address)
        response = RedirectResponse(wanted, 303)
        cookie = login.password.cookie(time.time())
        response.set_cookie(COOKIE, cookie, SESSION_SECONDS, path="/", httponly=True, samesite="strict")
        return response

    def _report_failure(self, address: str) -> None:
        guesses, now = self.login_.guesses, time.time()
        attempt, wait = guesses.count(address, now), guesses.wait_seconds(address, now)
        sentence = f"Wrong password number {attempt} for the web pages from {address}"
        if wait:
            events.emit(events.WEB_LOGIN_REFUSED, sentence, ADDRESS=address, ATTEMPT=attempt, SECONDS=round(wait))
        else:
            logger.warning("%s", sentence)

    async def log_out(self, request: Request) -> Response:
        if not is_same_origin(request.scope):
            return self._notice(403, "Not from another page", "")
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response


def find(path: str) -> tuple[Page, Mapping[str, str]] | None:
    """The page at a path, and the values in the path."""
    for page in pages.PAGES:
        if match := page.pattern.fullmatch(path):
            return page, match.groupdict()
    return None


def context(page: Page, wanted: View) -> dict[str, Any]:
    """The context of every page's template."""
    return {"page": page, "view": wanted, "title": page.title, "now_micros": int(time.time() * 1_000_000)}


def own_path(text: str) -> str:
    """The target after a login: a path of this server, never another server."""
    return text if OWN_PATH.fullmatch(text) else "/"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a small form; none of a larger one."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    return {name: values[0] for name, values in fields.items()}
