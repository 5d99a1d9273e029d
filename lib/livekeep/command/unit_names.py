"""The names of livekeep's units for the operator's commands."""

from livekeep.core.probe_results import PROBES

SERVICES = (
    "livekeep-poller.service",
    "livekeep-display.service",
    "livekeep-player.service",
    "livekeep-error-screen.service",
)
HEALTH_UNITS = (
    "livekeep-exporter.service",
    *(f"livekeep-probe-{name}.timer" for name in PROBES),
)
"""The health part's units, which are optional."""
AIR_UNITS = (
    "livekeep-controller.socket",
    "livekeep-controller.service",
    "livekeep-storage.socket",
    "livekeep-storage.service",
    "livekeep-air.service",
)
RECORD_UNITS = (
    "livekeep-recorder.service",
    "livekeep-alerter.service",
    "livekeep-web.socket",
    "livekeep-web.service",
    "livekeep-tidy.timer",
    "livekeep-report@daily.timer",
    "livekeep-report@weekly.timer",
    "livekeep-clips.timer",
)
"""The record part's units."""
ALL = (*SERVICES, *HEALTH_UNITS, *AIR_UNITS, *RECORD_UNITS)
TARGET = "livekeep.target"
