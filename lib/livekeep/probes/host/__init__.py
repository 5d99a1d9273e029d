"""The host probe: the board, its SD card and its display connectors."""
