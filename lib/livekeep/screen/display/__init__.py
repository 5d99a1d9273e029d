"""livekeep-display, which becomes mpv or VLC, and livekeep-error-screen, which paints when neither can."""
