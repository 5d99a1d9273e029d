"""The operator's `livekeep` command: reads state and configuration; never decides what is shown."""
