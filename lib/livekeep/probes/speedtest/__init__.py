"""The speed test of the internet connection."""
