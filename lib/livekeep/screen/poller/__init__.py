"""livekeep-poller: whether the selected stream is live, and its URL; it shares only states with the other two programs."""
