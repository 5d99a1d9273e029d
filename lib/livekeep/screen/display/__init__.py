"""livekeep-display, which becomes mpv or VLC, and livekeep-error-screen, which shows the error picture when neither can start."""
