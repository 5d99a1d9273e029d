"""Access control of the pages: the accepted host names, the security headers, the login check.

Part of livekeep-web. A foreign site can point its own name at this machine (DNS rebinding), hence the check of the header Host.
This is impossible with an IP address instead of a name. Sources: RFC 9110; Content Security Policy 3; RFC 6265bis (SameSite).
"""

import contextlib
import html
import ipaddress
import socket
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.responses import HTMLResponse, RedirectResponse

from livekeep.record.web.password import COOKIE, Password
from livekeep.system.asgi import App, Message, Receive, Scope, Send, header
from livekeep.system.loopback import HOST, is_loopback_address, is_loopback_name

HOME_DOMAINS = ("local", "lan", "internal", "home.arpa")
"""Domains that no outsider can own a name in: RFC 6762, RFC 8375, ICANN's reserved ones."""
OPEN_PATHS = ("/login", "/favicon.ico")
OPEN_FOLDER = "/static/"
SET_PASSWORD = "sudo livekeep set-web-password"  # noqa: S105 – a command
KEEP_NOTHING = (b"cache-control", b"no-store")


@dataclass(frozen=True)
class Names:
    """The names of this machine. On loopback alone it only has localhost."""

    is_local: bool
    configured: tuple[str, ...] = ()

    def knows(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this machine."""
        match = HOST.fullmatch(host)
        if not match:
            return False
        name = match[1].removesuffix(".").lower()
        if is_loopback_name(host) or name in (configured.lower() for configured in self.configured):
            return True
        if self.is_local:
            return False
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name.strip("[]"))
            return True
        own = socket.gethostname().lower()
        short = own.partition(".")[0]
        return name in {own, short, *(f"{short}.{domain}" for domain in HOME_DOMAINS)}


def headers_for(host: str) -> list[tuple[bytes, bytes]]:
    """The security headers of a response: load nothing from elsewhere, run no inline scripts, appear in no frame."""
    # Safari applies 'self' to http only.
    sockets = f" ws://{host} wss://{host}" if HOST.fullmatch(host) else ""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return [
        (b"content-security-policy", policy.encode("latin-1")),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    ]


def client_address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_same_origin(scope: Scope) -> bool:
    """Whether a page of ours sent the request: the header Origin names the request's host."""
    origin = header(scope, b"origin")
    return origin.partition("://")[2] == header(scope, b"host") != "" and origin.startswith(("http://", "https://"))


class Door:
    """Admits authorised requests. Without a password, only this machine is authorised."""

    def __init__(self, app: App, names: Names, password: Password) -> None:
        self.app, self.names, self.password = app, names, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = header(scope, b"host")
        refused = self.refusal(scope, host)
        if scope["type"] == "websocket":
            if refused or not is_same_origin(scope):
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            """Add headers to the response; the browser caches no page unless the page allows it."""
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                names = {name.lower() for name, _ in own}
                more = [(name, text) for name, text in (*headers_for(host), KEEP_NOTHING) if name not in names]
                message["headers"] = [*own, *more]
            await send(message)

        await (refused or self.app)(scope, receive, send_on)

    def refusal(self, scope: Scope, host: str) -> App | None:
        """The response to a refused request; None for an admitted one."""
        if not self.names.knows(host):
            advice = 'Open the pages by this machine\'s address, or add the name to livekeep.toml: [web] names = ["…"]'
            return notice(421, "This machine has no such name", advice)
        if not self.password.is_set:
            if self.names.is_local or is_loopback_address(client_address(scope)):
                return None
            return notice(403, "These pages have no password yet", f"On the machine itself, run: {SET_PASSWORD}")
        path = scope["path"]
        cookie = None
        with contextlib.suppress(CookieError):
            cookie = SimpleCookie(header(scope, b"cookie")).get(COOKIE)
        is_known = self.password.knows(cookie.value if cookie else "", time.time())
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or is_known:
            return None
        return to_login(scope)


def to_login(scope: Scope) -> App:
    """The response to a request without a valid cookie."""
    if scope.get("method") != "GET" or scope["path"] == "/screen.png":
        return notice(401, "Password needed", "Open /login first")
    if header(scope, b"sec-fetch-site") == "cross-site":
        # A link in a mail led here, so the browser withheld our cookie; it sends it with this page's own request.
        return notice(200, "livekeep", "One moment", '<meta http-equiv="refresh" content="0">')
    query = scope["query_string"].decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)  # type: ignore[no-any-return]


def notice(status: int, title: str, text: str, head: str = "") -> App:
    """A page of two sentences, when nothing else is shown."""
    page = f'<!doctype html><html lang="en"><meta charset="utf-8">{head}<title>{html.escape(title)}</title>'
    page += f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p></html>"
    return HTMLResponse(page, status)  # type: ignore[no-any-return]
