"""The basis of all parts: configuration, state, events, the service loop, errors. Core never logs."""
