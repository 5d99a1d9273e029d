"""livekeep air: one module an action."""
