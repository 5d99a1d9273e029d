"""livekeep-alerter: sends alerts by mail, webhook and file."""
