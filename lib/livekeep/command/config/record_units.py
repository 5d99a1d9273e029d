"""What the configuration asks of the record part's units: which of them run, how often, where the web pages listen. Pure."""

from ipaddress import ip_address

from livekeep.command.config.health_units import FIRST_RUN_SECONDS, HEADING, Wanted
from livekeep.core.config import Config
from livekeep.core.config.record import Analyzer, Web

ALWAYS = ("livekeep-recorder.service", "livekeep-alerter.service", "livekeep-tidy.timer")
"""Those that no key switches off."""


def wanted(settings: Config) -> tuple[Wanted, ...]:
    """All units of the part that are enabled, or may be."""
    reports = {"daily": settings.reports.daily, "weekly": settings.reports.weekly}
    return (
        *(Wanted(name, True, "60-record.conf", "") for name in ALWAYS),
        Wanted("livekeep-web.socket", True, "60-web.conf", socket_drop_in(settings.web)),
        *(Wanted(f"livekeep-report@{name}.timer", is_wanted, "60-record.conf", "") for name, is_wanted in reports.items()),
        Wanted("livekeep-clips.timer", bool(settings.clips), "60-interval.conf", timer_drop_in(settings.analyzer)),
    )


def socket_drop_in(web: Web) -> str:
    """Another address or port than the shipped one."""
    if (web.address, web.port) == (Web.address, Web.port):
        return ""
    address = f"[{web.address}]" if ":" in web.address else web.address
    lines = ["[Socket]", "# An empty value takes the shipped address away.", "ListenStream="]
    # An address that comes with the network need not be there yet.
    lines += [f"ListenStream={address}:{web.port}", "FreeBind=yes"]
    if not ip_address(web.address).is_loopback:
        # It wins over the shipped IPAddressDeny=.
        lines += ["IPAddressAllow=any"]
    return HEADING + "\n".join(lines) + "\n"


def timer_drop_in(analyzer: Analyzer) -> str:
    """Another interval than the shipped one."""
    seconds = analyzer.interval_seconds
    if seconds == Analyzer.interval_seconds:
        return ""
    lines = ["[Timer]", "# An empty value takes the shipped times away, all of them.", "OnCalendar="]
    lines += [f"OnBootSec={min(seconds, FIRST_RUN_SECONDS):g}s", f"OnUnitActiveSec={seconds:g}s"]
    return HEADING + "\n".join(lines) + "\n"
