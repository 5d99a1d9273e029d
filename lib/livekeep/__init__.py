"""livekeep keeps a live video stream on screen, on air and on record."""

__version__ = "0.1.0"
