"""A stand-in for the Vimeo API 3.4, as far as a poller of live streams uses it; controllable while it runs.

Answers follow the public reference: error bodies have `error`, `developer_message`, `error_code` and `link` and the media type
application/vnd.vimeo.error+json; an invalid token gets the legacy body with `error` alone. Undocumented behaviour is chosen here:
a one-time video that is not live answers 404 with 5000 at m3u8_playback.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.machine import vimeo_faults
from tests.machine.standin import Handler, StandIn, parse, serve
from tests.machine.vimeo_faults import ERROR_TYPE, Answer, error_body, refusal

JSON_TYPE = "application/vnd.vimeo.live+json"
WINDOW_SECONDS = 60
TTL_SECONDS = (10, 60)

EVENT_ID = "4242424"
VIDEO_ID = "990099"
USER_ID = "1111"
TOKEN = "stand-in-token-0123456789abcdef"


@dataclass
class State:
    """Everything that a test can control, and the log of requests."""

    live: str = "offline"
    url: str = ""
    fault: str = ""
    fault_times: int = -1
    fault_only: str = ""
    fault_seconds: float = 30
    token: str = TOKEN
    scope: str = "public private"
    next_occurrence_time: str | None = None
    schedule: dict[str, Any] | None = None
    title: str = "Sunday Service"
    limit: int = 2500
    used: int = 0
    window_ends: float = 0.0
    signed: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)


class Vimeo:
    """The stand-in's behaviour: from a request to a response."""

    def __init__(self) -> None:
        """Off the air, no fault."""
        self.state = State()
        self.lock = threading.Lock()

    def control(self, do: str, arguments: dict[str, Any]) -> Any:
        """`set` state fields, read the `log` or the `signed` URLs, or `forget` both."""
        with self.lock:
            if do == "set":
                for name, value in arguments.items():
                    if name not in State.__dataclass_fields__:
                        raise ValueError(f"no such thing to set: {name}")
                    setattr(self.state, name, value)
                if self.state.fault and self.state.fault not in vimeo_faults.NAMES:
                    name, self.state.fault = self.state.fault, ""
                    raise ValueError(f"no such fault: {name}; there are {', '.join(sorted(vimeo_faults.NAMES))}")
                return None
            if do in ("log", "signed"):
                return list(getattr(self.state, do))
            if do == "forget":
                self.state.log.clear()
                self.state.signed.clear()
                return None
            raise ValueError(f"cannot {do}")

    def take_fault(self, path: str) -> str:
        """The fault for this request, or an empty string; counts down a fault for N times."""
        with self.lock:
            if not self.state.fault or self.state.fault_only not in path or self.state.fault_times == 0:
                return ""
            self.state.fault_times -= self.state.fault_times > 0
            return self.state.fault

    def reply(self, path: str, query: dict[str, list[str]], authorization: str) -> Answer:
        """The documented response to one GET request."""
        with self.lock:
            if not authorization:
                return refusal(401, 8003, "No user credentials were provided.")
            if not self.knows(authorization):
                return Answer(401, {"error": vimeo_faults.INVALID_TOKEN}, ERROR_TYPE)
            limits = self._count("fields" in query)
            if int(limits["X-RateLimit-Remaining"]) < 0:
                limits["X-RateLimit-Remaining"] = "0"
                return Answer(429, error_body(9000, "Too many API requests."), ERROR_TYPE, limits)
            answer = self._route(path, query)
            return Answer(answer.status, _only(answer.body, query), answer.media_type, limits)

    def knows(self, authorization: str) -> bool:
        """Whether the header carries the right bearer token."""
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and token == self.state.token

    def _count(self, with_fields: bool) -> dict[str, str]:
        now = time.time()
        if now >= self.state.window_ends:
            self.state.window_ends, self.state.used = now + WINDOW_SECONDS, 0
        self.state.used += 1
        # Requests with only `fields` have double the budget, as documented.
        limit = self.state.limit * (2 if with_fields else 1)
        return vimeo_faults.rate_headers(limit, limit - self.state.used, self.state.window_ends)

    def _route(self, path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/oauth/verify":
            return Answer(200, self._verify())
        found = re.fullmatch(r"(?:/me|/users/(\w+))?/(live_events|videos)/(\w+)(/m3u8_playback)?", path)
        if not found:
            return refusal(404, 5000, "The specified resource does not exist.")
        user, kind, number, playback = found.groups()
        known = number == (EVENT_ID if kind == "live_events" else VIDEO_ID) and user in (None, USER_ID)
        # An event's playlist exists below /me and /users/ID only.
        if not known or (playback and path.startswith(("/live_events", "/videos"))):
            return refusal(404, 5000, "The specified resource does not exist.")
        if playback:
            return self._playback(kind, query)
        if kind == "videos":
            return Answer(200, self._video())
        return Answer(200, self._event()) if self._private() else refusal(401, 3200, "You can't access this event.")

    def _private(self) -> bool:
        return "private" in self.state.scope.split()

    def _playback(self, kind: str, query: dict[str, list[str]]) -> Answer:
        if not self._private():
            return vimeo_faults.documented("403")
        asked = query.get("ttl", [str(TTL_SECONDS[1])])[0]
        if not asked.isdecimal() or not TTL_SECONDS[0] <= int(asked) <= TTL_SECONDS[1]:
            return vimeo_faults.documented("2204")
        ttl = int(asked)
        if self.state.live == "live":
            return Answer(200, {"m3u8_playback_url": self._sign(ttl)})
        if self.state.live == "starting":
            return refusal(503, 7900, "The streamable video in progress will be available soon.")
        if kind == "videos":
            return refusal(404, 5000, "The specified resource does not exist.")
        return refusal(400, 10008, "The event hasn't started.")

    def _sign(self, ttl: int) -> str:
        mark = "&" if "?" in self.state.url else "?"
        url = f"{self.state.url}{mark}exp={int(time.time()) + ttl}~acl=%2F%2A~hmac=SECRET{secrets.token_hex(16)}"
        self.state.signed.append(url)
        return url

    def _verify(self) -> dict[str, Any]:
        user, app = {"uri": f"/users/{USER_ID}", "name": "Stand-in"}, {"uri": "/apps/1", "name": "stand-in"}
        return {"token_type": "bearer", "scope": self.state.scope, "app": app, "user": user, "expires_on": None}

    def _live(self) -> dict[str, Any]:
        status = {"live": "streaming", "starting": "ready"}.get(self.state.live, "unavailable")
        return {"status": status, "scheduled_start_time": self.state.next_occurrence_time}

    def _video(self) -> dict[str, Any]:
        return {"uri": f"/videos/{VIDEO_ID}", "name": self.state.title, "type": "live", "live": self._live()}

    def _event(self) -> dict[str, Any]:
        return {
            "uri": f"/live_events/{EVENT_ID}",
            "title": self.state.title,
            "status": "started" if self.state.live != "offline" else None,
            "time_zone": "Europe/London",
            "next_occurrence_time": self.state.next_occurrence_time,
            "schedule": self.state.schedule,
            "streamable_clip": {"uri": f"/videos/{VIDEO_ID}", "live": self._live()},
        }


VIMEO = Vimeo()


class VimeoHandler(Handler):
    """One request to the stand-in."""

    server_version = "stand-in"

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Respond, or misbehave as configured, and log the request."""
        parts = urlsplit(self.path)
        authorization = self.headers.get("Authorization", "")
        fault = VIMEO.take_fault(parts.path)
        entry = {
            "at": time.monotonic(),
            "path": parts.path,
            "query": parts.query,
            "fault": fault,
            "status": None,
            "authorized": VIMEO.knows(authorization),
        }
        VIMEO.state.log.append(entry)
        if fault:
            vimeo_faults.misbehave(self, fault, lambda: VIMEO.state.fault == fault, VIMEO.state.fault_seconds)
            return
        reply = VIMEO.reply(parts.path, parse_qs(parts.query), authorization)
        entry["status"] = reply.status
        self.answer(reply.status, json.dumps(reply.body).encode(), reply.media_type or JSON_TYPE, reply.headers)


class VimeoStandIn(StandIn):
    """Controls the stand-in; `base_url` is the value for the poller's API URL. Times are seconds."""

    module = "tests.machine.vimeo"

    def go_live(self, url: str) -> None:
        """On air: every playlist request gets `url` with a separate signature."""
        self.ask("set", live="live", url=url)

    def go_off(self) -> None:
        """Off the air: 400 with 10008."""
        self.ask("set", live="offline")

    def starting(self) -> None:
        """Soon on air: 503 with 7900."""
        self.ask("set", live="starting")

    def fault(self, name: str, *, times: int = -1, only: str = "", seconds: float = 30) -> None:
        """Misbehave (`vimeo_faults.NAMES`), `times` times or until `ok()`, for paths that contain `only`.

        `seconds`: when the window of a "429" ends.
        """
        self.ask("set", fault=name, fault_times=times, fault_only=only, fault_seconds=seconds)

    def ok(self) -> None:
        """Behave normally again; live or not stays as it is."""
        self.ask("set", fault="")

    def schedule(self, next_occurrence_time: datetime | None, schedule: dict[str, Any] | None = None) -> None:
        """The event's next start; an aware time. `schedule` defaults to a single one at that time."""
        text = next_occurrence_time.astimezone(UTC).isoformat(timespec="seconds") if next_occurrence_time else None
        single = {"type": "single", "start_time": text} if text else None
        self.ask("set", next_occurrence_time=text, schedule=schedule or single)

    def token(self, token: str = TOKEN, scope: str = "public private") -> None:
        """The only valid token, and its scopes."""
        self.ask("set", token=token, scope=scope)

    def limit(self, per_minute: int) -> None:
        """The rate limit, with a new count; doubled for requests with `fields`."""
        self.ask("set", limit=per_minute, window_ends=0.0)

    def requests(self) -> list[dict[str, Any]]:
        """All requests: at (CLOCK_MONOTONIC), path, query, authorized, fault, status."""
        entries: list[dict[str, Any]] = self.ask("log")
        return entries

    def signed(self) -> list[str]:
        """Every signed URL sent: none of them may appear where others can read it."""
        urls: list[str] = self.ask("signed")
        return urls

    def forget(self) -> None:
        """Empty the log and the list of signed URLs."""
        self.ask("forget")


def _only(body: Any, query: dict[str, list[str]]) -> Any:
    """`body` reduced to the dotted names of `?fields=`."""
    if "fields" not in query or "error" in body:
        return body
    cut: dict[str, Any] = {}
    for name in ",".join(query["fields"]).split(","):
        source, target, parts = body, cut, name.strip().split(".")
        while len(parts) > 1 and isinstance(source.get(parts[0]), dict):
            source, target = source[parts[0]], target.setdefault(parts[0], {})
            del parts[0]
        if parts[0] in source:
            target[parts[0]] = source[parts[0]]
    return cut


def main(argv: Sequence[str] | None = None) -> int:
    """Run the stand-in until standard input closes."""
    return serve(VimeoHandler, VIMEO.control, parse(argv))


if __name__ == "__main__":
    sys.exit(main())
