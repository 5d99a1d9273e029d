"""The YouTube probe: whether YouTube shows the channels that are on air here."""
