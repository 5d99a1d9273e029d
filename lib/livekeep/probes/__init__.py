"""The probes: small programs, each with its own timer, that look at what the stream depends on and write down what they find."""
