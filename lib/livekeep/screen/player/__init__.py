"""livekeep-player: decides which picture belongs on the screen, and has the display show it."""
