"""The units' states and the verdict on them, in one place: for command, exporter, web pages and alerts."""
