"""On screen: the poller checks whether the stream is live, the player chooses the picture, the display shows it."""
