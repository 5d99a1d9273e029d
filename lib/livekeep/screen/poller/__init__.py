"""livekeep-poller: whether the selected stream is live, and from where; it shares nothing with the other two but their states."""
