"""The tables of livekeep.toml that belong to the record part: recorder, web pages, reports, alerts, notifications, clips."""

from dataclasses import dataclass

from livekeep.core.checks import NAME, Each, Host, HttpsUrl, IpAddress, OneOf, Pattern, Range, key, number_key

SEVERITIES = ("info", "warning", "critical")
ALERT_KINDS = ("event", "failures", "slow", "regression", "absent", "verdict", "figure")
STATISTICS = ("mean", "p50", "p95", "p99")
FIGURES = (
    "cpu_percent",
    "memory_percent",
    "temperature_celsius",
    "disk_percent",
    "disk_free_bytes",
    "unit_memory_bytes",
    "unit_cpu_percent",
)
"""The metrics that the recorder samples each minute; see [alerts.NAME]."""


RECORDER = "livekeep-recorder"
"""The `unit` of a verdict rule that checks whether the record grows."""
PATTERN = Pattern(r"[^\x00-\x1f\x7f]{1,200}", 'a name or a pattern with * and ?, such as "clip *"')
CHANNEL_NAMES = Each(Pattern(NAME.pattern, "names of [notify.NAME]: small letters, digits, - and _, 32 at most"))


@dataclass(frozen=True)
class Record:
    """For livekeep-recorder and livekeep-tidy."""

    journal: str = key("", Pattern(r"|/.+", "an absolute path"))
    call_days: int = key(90, Range(1, 3650))
    summary_days: int = key(365, Range(1, 3650))
    sample_seconds: float = key(60.0, Range(10, 3600))
    least_free_percent: float = key(10.0, Range(1, 90))


@dataclass(frozen=True)
class Web:
    """For livekeep-web. Its password is the credential livekeep.web-password."""

    address: str = key("127.0.0.1", IpAddress())
    port: int = key(9879, Range(1024, 65535))
    names: tuple[str, ...] = key((), Each(Host()))
    idle_seconds: float = key(60.0, Range(5, 86400))


@dataclass(frozen=True)
class Reports:
    daily: bool = key(True)
    weekly: bool = key(True)
    notify: tuple[str, ...] = key((), CHANNEL_NAMES)


@dataclass(frozen=True)
class Alert:
    """A rule of livekeep-alerter: what to watch for, and when to send a message."""

    enabled: bool = key(True)
    kind: str = key("event", OneOf(ALERT_KINDS))
    severity: str = key("warning", OneOf(SEVERITIES))
    machine: str = key("*", PATTERN)
    event: str = key("")
    match: tuple[str, ...] = key((), Each(Pattern(r"[A-Z][A-Z0-9_]*=.*", 'a field and a pattern, such as "OUTCOME=failed"')))
    function: str = key("*", PATTERN)
    call_kind: str = key("*", PATTERN)
    session: str = key("*", PATTERN)
    statistic: str = key("p95", OneOf(STATISTICS))
    threshold: str | float = number_key("auto")
    share: float = key(0.0, Range(0, 1))
    number: int = key(0, Range(0, 1_000_000_000))
    verdict: str = key("down", OneOf(("degraded", "down")))
    figure: str = key("", OneOf(("", *FIGURES)))
    unit: str = key("*", PATTERN)
    above: str | float = number_key("")
    below: str | float = number_key("")
    window_seconds: float = key(3600.0, Range(10, 31_536_000))
    for_seconds: float = key(0.0, Range(0, 31_536_000))
    period_seconds: float = key(90_000.0, Range(60, 31_536_000))
    cooldown_seconds: float = key(600.0, Range(0, 31_536_000))
    repeat_seconds: float = key(86400.0, Range(60, 31_536_000))
    notify: tuple[str, ...] = key((), CHANNEL_NAMES)
    advice: str = key("")

    def faults(self) -> list[str]:
        """Errors beyond the single values, each beginning with the key."""
        fault = ""
        match self.kind:
            case "event" if not self.event:
                fault = 'event: must be the name of an event, such as "session-ended", or set kind to what the rule watches'
            case "failures" if not (self.share or self.number):
                fault = "number: must be more than 0, or share"
            case "slow" if isinstance(self.threshold, float) and self.threshold <= 0:
                fault = f"threshold: must be more than 0, is {self.threshold:g}"
            case "figure" if not self.figure:
                fault = f"figure: must be one of {', '.join(FIGURES)}"
            case "figure" if self.above == "" and self.below == "":
                fault = "above: must be a number, or below"
            case "figure" if isinstance(self.above, float) and isinstance(self.below, float) and self.above < self.below:
                fault = f"below: must not be more than above, or the rule always applies; is {self.below:g}"
            case "verdict" if self.unit not in ("*", RECORDER):
                fault = f'unit: must be "*" (screen and channels) or "{RECORDER}", is "{self.unit}"'
        return [fault] if fault else []


@dataclass(frozen=True)
class Notify:
    """A channel of livekeep-alerter. An address with a password is the credential livekeep.notify, one line for each channel."""

    enabled: bool = key(True)
    address: str = key(
        "", Pattern(r"|[a-z][a-z0-9+.-]*://\S+", 'an address of apprise, such as "mailto://mail.example.org?to=me@example.org"')
    )
    file: str = key("", Pattern(r"|/.+", "an absolute path"))
    severity: str = key("info", OneOf(SEVERITIES))
    limit_per_hour: int = key(20, Range(1, 10_000))

    def faults(self) -> list[str]:
        return ["file: must not be set beside address; make a second [notify.NAME]"] if self.file and self.address else []


@dataclass(frozen=True)
class Analyzer:
    """For livekeep-clips."""

    interval_seconds: float = key(900.0, Range(60, 86400))
    timeout_seconds: float = key(10.0, Range(1, 60))
    snapshot_days: int = key(90, Range(2, 3650))
    youtube_api_url: str = key("https://www.googleapis.com/youtube/v3", HttpsUrl())


@dataclass(frozen=True)
class Clips:
    """The source of clips: exactly one of the three keys is set."""

    vimeo: str = key("", Pattern(r"|me|(users|channels|albums)/[A-Za-z0-9_-]+", '"me", "users/ID", "channels/ID" or "albums/ID"'))
    youtube_channel: str = key("", Pattern(r"|UC[A-Za-z0-9_-]{22}", "a channel's id, which begins with UC"))
    file: str = key("", Pattern(r"|/.+", "an absolute path"))

    def faults(self) -> list[str]:
        is_one = sum(map(bool, (self.vimeo, self.youtube_channel, self.file))) == 1
        return [] if is_one else ["vimeo: set exactly one of vimeo, youtube_channel, file"]


SHIPPED_ALERTS = {
    "down": Alert(
        kind="verdict",
        severity="critical",
        for_seconds=300.0,
        advice="Run: sudo livekeep doctor",
    ),
    "session-failed": Alert(
        event="session-ended",
        match=("OUTCOME=failed",),
        advice="Run: livekeep record show SESSION",
    ),
    "session-lost": Alert(
        event="session-lost",
        advice="The process ended unexpectedly: journalctl -b shows its last lines",
    ),
    "failures": Alert(
        kind="failures",
        share=0.5,
        number=10,
        window_seconds=900.0,
        advice="Run: livekeep record functions --failed",
    ),
    "regression": Alert(kind="regression", severity="info", advice="Run: livekeep record compare"),
    "recorder": Alert(
        kind="verdict",
        unit=RECORDER,
        for_seconds=300.0,
        advice="Run: systemctl status livekeep-recorder; journalctl -u livekeep-recorder",
    ),
    "hot": Alert(
        kind="figure",
        figure="temperature_celsius",
        above=80.0,
        for_seconds=600.0,
        advice="Give the box more air; see: sudo livekeep probe host",
    ),
    "disk": Alert(
        kind="figure",
        severity="critical",
        figure="disk_percent",
        above=95.0,
        for_seconds=600.0,
        advice="Run: df -h; journalctl --vacuum-size=100M",
    ),
    "clip": Alert(event="clip-takes-off", severity="info", cooldown_seconds=0.0),
    "clips-failed": Alert(event="clips-failed"),
}
"""The rules that are on by default. [alerts.NAME] of the same name overrides single keys."""
