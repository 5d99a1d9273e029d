"""The probes: small programs, each with a timer, that check what the stream depends on and write their results."""
