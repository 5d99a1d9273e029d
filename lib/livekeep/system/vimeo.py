"""The Vimeo API 3.4, shared by its clients: headers, the rate limit, numbers and times in responses.

Bodies are read leniently: numbers come as text, documented fields may be absent, error bodies may have only `error`.
Source: developer.vimeo.com (guidelines on rate limits, common formats).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

ACCEPT = "application/vnd.vimeo.*+json;version=3.4"
END_OF_TIME = 32503680000.0
"""The year 3000: a later time is an error, so that calendars need not handle it."""


@dataclass(frozen=True)
class Limits:
    """The rate limit from a response's headers, None if absent: requests per minute, those left, Unix seconds."""

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


def parsed(body: bytes) -> Any:
    """The JSON document; None if it is invalid or nested too deeply."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def error_code(document: Any) -> int | None:
    """The error_code, which comes as a number, as text, or not at all."""
    value = document.get("error_code") if isinstance(document, dict) else None
    return whole_number(value if isinstance(value, int | str) and not isinstance(value, bool) else None)


def whole_number(value: int | str | None) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,15}", text) else None


def count(value: str | None) -> int | None:
    number = whole_number(value)
    return number if number is not None and number >= 0 else None


def limits_of(headers: Mapping[str, str]) -> Limits:
    return Limits(
        count(headers.get("x-ratelimit-limit")),
        count(headers.get("x-ratelimit-remaining")),
        moment(headers.get("x-ratelimit-reset")),
    )


def moment(value: Any) -> float | None:
    """Unix seconds of a time in ISO 8601 (UTC by default) or in Unix seconds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    try:
        if re.fullmatch(r"[0-9]{9,11}(\.[0-9]+)?", text):
            seconds = float(text)
        else:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < END_OF_TIME else None
