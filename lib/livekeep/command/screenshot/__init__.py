"""livekeep screenshot: one module a display."""
