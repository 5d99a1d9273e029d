"""On air: a channel that never stops, from a bucket or a folder of files to an ingest."""
