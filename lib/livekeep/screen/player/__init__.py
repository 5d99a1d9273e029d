"""livekeep-player: decides which picture belongs on the screen, and makes the display show it."""
