"""The operator's `livekeep` command: it reads state and configuration, and never decides what is shown."""
