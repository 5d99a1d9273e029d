"""livekeep-tv: switches the TV on and off."""
