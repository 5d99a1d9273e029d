"""Composes a message: what, since when, why, the last log lines, what to do. As text, and as HTML that loads nothing."""

import html
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from livekeep.core.config.record import Alert
from livekeep.core.text import shown
from livekeep.record.alerts.notify import LONGEST_TITLE, Message
from livekeep.record.alerts.rules import FLAPPING_TIMES
from livekeep.record.figures import duration

MOST_ALERTS = 20
"""In one message; the others are only counted."""
MOST_LOGS = 3
COLOURS = {"critical": "#b3261e", "warning": "#9a6700", "info": "#0b57d0", "over": "#1a7f37"}


@dataclass(frozen=True)
class AlertText:
    """An alert as a message describes it. Moments are Unix seconds."""

    subject: str
    sentence: str
    since: float
    over_at: float | None = None
    why: str = ""
    log: str = ""
    count: int = 1
    times: int = 1


def compose(name: str, rule: Alert, kind: str, alerts: Sequence[AlertText], now: float) -> Message:
    """`kind`: begin, event, reminder or over."""
    host = socket.gethostname()
    title = f"{host}: {headline(rule, kind, alerts)}"
    blocks = [block(alert, kind, now, number < MOST_LOGS) for number, alert in enumerate(alerts[:MOST_ALERTS])]
    subject = shown(title)
    if len(subject) > LONGEST_TITLE:
        subject = subject[: LONGEST_TITLE - 1] + "…"
    more = len(alerts) - MOST_ALERTS
    footer = [f"Rule {name} ({rule.severity}) on {host}, {moment(now)}."]
    if kind != "over":
        footer.append(f"No messages of it for a while: sudo livekeep alert silence {name} --for 2h")
    advice = "" if kind == "over" else rule.advice
    return Message(
        subject,
        as_text(blocks, more, advice, footer),
        as_html(title, COLOURS["over" if kind == "over" else rule.severity], blocks, more, advice, footer),
        rule.severity,
        rule.notify,
    )


def headline(rule: Alert, kind: str, alerts: Sequence[AlertText]) -> str:
    first = alerts[0]
    count = sum(alert.count for alert in alerts)
    more = f" (and {count - 1} more)" if count > 1 else ""
    if kind == "over":
        return f"over after {duration((first.over_at or first.since) - first.since)}: {first.sentence}{more}"
    word = {"reminder": "still ", "begin": "", "event": ""}[kind]
    severity = "" if rule.severity == "info" else f"{rule.severity}: "
    return f"{severity}{word}{first.sentence}{more}"


Block = tuple[list[tuple[str, str]], str]
"""Rows of label and text, and the last log lines."""


def block(alert: AlertText, kind: str, now: float, with_log: bool) -> Block:
    end = alert.over_at if kind == "over" and alert.over_at else now
    rows = [("What", alert.sentence), ("Since", f"{moment(alert.since)} ({duration(end - alert.since)})")]
    if kind == "over":
        rows.append(("Over", moment(end)))
    if alert.count > 1:
        rows.append(("How often", f"{alert.count} times"))
    if alert.why:
        rows.append(("Why", alert.why))
    if alert.times >= FLAPPING_TIMES:
        rows.append(("Note", f"It began {alert.times} times in a row; each time, the pause before the next message is longer"))
    return rows, alert.log if with_log and kind != "over" else ""


def as_text(blocks: Sequence[Block], more: int, advice: str, footer: Sequence[str]) -> str:
    parts = []
    for rows, log in blocks:
        width = max(len(name) for name, _text in rows) + 2
        indent = "\n" + " " * width
        lines = [f"{name + ':':<{width}}{indent.join(shown(line) for line in text.splitlines())}" for name, text in rows]
        if log:
            lines += ["The last lines:", *(f"    {shown(line)}" for line in log.splitlines())]
        parts.append("\n".join(lines))
    if more > 0:
        parts.append(f"And {more} more.")
    if advice:
        parts.append(f"What to do: {advice}")
    return "\n\n".join([*parts, "\n".join(["-- ", *footer])]) + "\n"


def as_html(title: str, colour: str, blocks: Sequence[Block], more: int, advice: str, footer: Sequence[str]) -> str:
    parts = [f'<h1 style="font-size:18px;margin:0 0 16px;color:{colour}">{escaped(title)}</h1>']
    for rows, log in blocks:
        cells = "".join(
            f'<tr><th style="text-align:left;vertical-align:top;padding:2px 16px 2px 0;color:#57606a;font-weight:600">{name}</th>'
            f'<td style="padding:2px 0">{escaped(text)}</td></tr>'
            for name, text in rows
        )
        parts.append(f'<table style="border-collapse:collapse;margin:0 0 12px">{cells}</table>')
        if log:
            parts.append(
                '<pre style="background:#f6f8fa;color:#1f2328;padding:12px;border-radius:6px;overflow-x:auto;font-size:12px;'
                f'white-space:pre-wrap">{escaped(log, is_block=True)}</pre>'
            )
    if more > 0:
        parts.append(f"<p>And {more} more.</p>")
    if advice:
        parts.append(f"<p><b>What to do:</b> {escaped(advice)}</p>")
    parts.append(f'<p style="color:#57606a;font-size:12px">{"<br>".join(escaped(line) for line in footer)}</p>')
    body = "".join(parts)
    style = f"font:14px/1.5 system-ui,sans-serif;border-top:4px solid {colour};padding:16px;max-width:720px"
    head = '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head>'
    return f'{head}<body><div style="{style}">{body}</div></body></html>'


def escaped(text: str, is_block: bool = False) -> str:
    return ("\n" if is_block else "<br>").join(html.escape(shown(line)) for line in text.splitlines())


def summary(channel: str, titles: Sequence[str], count: int, limit: int, now: float) -> Message:
    """One message that lists those held back by a channel's limit."""
    host = socket.gethostname()
    title = f"{host}: {count} messages were held back"
    said = f"{channel} gets {limit} messages an hour at most (limit_per_hour). Held back until {moment(now)}:"
    lines = [said, "", *(f"  - {shown(text)}" for text in titles)]
    if count > len(titles):
        lines.append(f"  - and {count - len(titles)} more: livekeep alert list --all")
    items = "".join(f"<li>{escaped(text)}</li>" for text in titles)
    return Message(title, "\n".join(lines) + "\n", f"<p>{escaped(said)}</p><ul>{items}</ul>", "warning", (channel,))


def test(channel: str, now: float) -> Message:
    host = socket.gethostname()
    text = f"A test of channel {channel} by livekeep alert test, {moment(now)}. Messages about {host} arrive here."
    return Message(f"{host}: test message", text + "\n", f"<p>{escaped(text)}</p>", "info", (channel,))


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(at))
