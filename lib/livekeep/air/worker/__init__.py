"""One channel on air: what is played next, one timeline of it, and the connection to the ingest."""
