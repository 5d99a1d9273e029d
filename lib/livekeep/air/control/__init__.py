"""Starts and stops channels: the HTTP API, and what goes on air again after a reboot."""
