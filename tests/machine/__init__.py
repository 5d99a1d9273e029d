"""A booted Debian with real systemd, a screen whose pixels are read, and stand-ins for the outside services."""
