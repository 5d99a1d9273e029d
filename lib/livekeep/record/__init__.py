"""On record: what ran, how well, how far it is, and a message when it matters."""
