"""Starts and stops channels: the HTTP API, and the restart of channels after a reboot."""
