"""livekeep doctor: one module a subject of its checks."""
