"""The stream probe: whether the stream that is live can be fetched, and what it contains."""
