"""What every part stands on: configuration, state, events, the service loop, errors. Core never logs."""
