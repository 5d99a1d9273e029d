"""The clip analyzer: which clips are played, and which of them take off. Its unit is livekeep-clips, its program analyzer.py."""
