"""One channel on air: its playlist, its timeline, and its connection to the ingest."""
