"""Additional requests: is the token valid, and when is the next start? One at a time, without delaying the poll."""

from collections.abc import Callable
from dataclasses import replace

from livekeep.core import events, paths
from livekeep.core.config import Stream
from livekeep.core.state import PollerState, StreamState
from livekeep.screen.poller import backoff, schedule, transitions, vimeo
from livekeep.screen.poller.background_request import BackgroundRequest
from livekeep.screen.poller.vimeo import Api, DocumentResponse
from livekeep.system import credentials
from livekeep.system.http import Client

VERIFY_PATH = "/oauth/verify"
DETAILS_SECONDS = 600.0
RETRY_SECONDS = 60.0
LONGEST_RETRY_SECONDS = 3600.0
NEVER = float("inf")


def read_token() -> tuple[str, str]:
    """The token from the credential livekeep.vimeo-token, and what is wrong with its file; both "" if there is none."""
    try:
        return credentials.read_key(paths.TOKEN_NAME), ""
    except (OSError, UnicodeDecodeError):
        return "", "The Vimeo token's file cannot be read, or is not text"
    except ValueError:
        return "", "The Vimeo token's file holds more than a token: a space, a line break or a character that no token has"


class TokenAndSchedule:
    """Schedules the requests and applies their responses."""

    def __init__(self, new_client: Callable[[], Client], wake: Callable[[], None]) -> None:
        self.request: BackgroundRequest[DocumentResponse] = BackgroundRequest("token or schedule", new_client, wake)
        self._asking_token = False
        self._token_problem = ""
        self._verify_due = 0.0
        self._verify_retry = RETRY_SECONDS
        self._details_due = 0.0
        self._served_until = 0.0

    def forget(self) -> None:
        """The stream, token or API was changed."""
        self.request.drop()
        self._token_problem = ""
        self._verify_due, self._verify_retry, self._details_due = 0.0, RETRY_SECONDS, 0.0
        self._served_until = 0.0

    def refresh_schedule(self, now: float) -> None:
        """The stream's state changed: the schedule may have changed too."""
        self._details_due = now

    def due(self, state: StreamState) -> float:
        """When the next request can begin, monotonic seconds; never while one is in flight."""
        if self.request.is_busy:
            return NEVER
        return min(self._verify_due, NEVER if state == "error" else self._details_due)

    def start(self, api: Api, stream: Stream, state: StreamState, seconds: float, now: float) -> None:
        """Start the request that is due, the token's check first."""
        if now < self.due(state):
            return
        self._asking_token = now >= self._verify_due
        path = VERIFY_PATH if self._asking_token else vimeo.details_path(stream)
        self.request.start(
            lambda client, deadline: vimeo.fetch_document(api, client, path, deadline),
            DocumentResponse("timeout", seconds),
            seconds,
        )

    def take(self, known: PollerState, now: float, wall: float) -> PollerState | None:
        """The state with the response applied; None if there is none yet."""
        taken = self.request.take(now)
        if not taken:
            return None
        response = taken[0]
        known = replace(known, requests=transitions.counted(known.requests, response.outcome, response.seconds))
        if self._asking_token:
            self._take_verified(response, now)
            return self._explained(known)
        if response.status != 200:
            self._details_due = now + RETRY_SECONDS
            return known
        self._details_due = now + DETAILS_SECONDS if known.state != "live" else NEVER
        start = schedule.next_start(response.document, wall)
        if start is not None and start <= self._served_until:
            start = None
        previous = known.next_start if known.state != "live" else None
        return replace(known, next_start=schedule.kept(previous, start, wall))

    def after_answer(self, known: PollerState, wall: float) -> PollerState:
        """Apply what the main response implies for the start, and the token check's explanation of a refusal."""
        next_start = schedule.still_to_come(known.next_start, wall)
        if known.state == "live":
            is_served = backoff.is_near_start(next_start, wall)
            self._served_until = max(self._served_until, next_start if is_served and next_start else wall)
            next_start = None if is_served else next_start
        return self._explained(replace(known, next_start=next_start))

    def _take_verified(self, response: DocumentResponse, now: float) -> None:
        if response.status not in (200, 401):
            self._verify_due = now + self._verify_retry
            self._verify_retry = min(self._verify_retry * 2, LONGEST_RETRY_SECONDS)
            return
        self._verify_due = NEVER
        problem = vimeo.scope_problem(response.status, response.document)
        if problem:
            sentence, scopes = problem
            # For an unknown token, the refusal itself is explanation enough.
            self._token_problem = sentence if response.status == 200 else ""
            events.emit(events.TOKEN_REFUSED, f"{sentence}; then run: {vimeo.SET_TOKEN}", SCOPE=scopes)

    def _explained(self, known: PollerState) -> PollerState:
        is_about_token = known.cause == "refused" and known.advice == vimeo.SET_TOKEN
        return replace(known, reason=self._token_problem) if is_about_token and self._token_problem else known
