"""livekeep air: one module for each action."""
