"""The speed test: how fast the line is."""
