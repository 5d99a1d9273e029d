"""The names of livekeep's units for the operator's commands, in the order of `livekeep status`."""

from livekeep.core.probe_results import PROBES

SERVICES = ("livekeep-poller.service", "livekeep-display.service", "livekeep-player.service", "livekeep-error-screen.service")
"""The screen's."""
ALL = (
    *SERVICES,
    "livekeep-tv.timer",
    "livekeep-exporter.service",
    *(f"livekeep-probe-{name}.timer" for name in PROBES),
    "livekeep-controller.socket",
    "livekeep-controller.service",
    "livekeep-storage.socket",
    "livekeep-storage.service",
    "livekeep-air.service",
    "livekeep-recorder.service",
    "livekeep-alerter.service",
    "livekeep-web.socket",
    "livekeep-web.service",
    "livekeep-tidy.timer",
    "livekeep-report@daily.timer",
    "livekeep-report@weekly.timer",
    "livekeep-clips.timer",
)
TARGET = "livekeep.target"
