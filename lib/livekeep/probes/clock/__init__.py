"""The clock probe: the time server, and how far the clock is from it."""
