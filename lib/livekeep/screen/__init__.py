"""On screen: the poller asks whether the stream is live, the player chooses the picture, the display shows it."""
