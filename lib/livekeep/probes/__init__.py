"""The probes: small programs, each run by its own timer, that look at what the stream depends on and write down their findings."""
