"""The names of livekeep's units, as the operator's commands need them."""

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
"""Those of the health part, which need not be installed."""
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
"""Those of the record part."""
ALL = (*SERVICES, *HEALTH_UNITS, *AIR_UNITS, *RECORD_UNITS)
TARGET = "livekeep.target"
