"""livekeep-alerter: says a word when it matters, by mail, webhook and file."""
