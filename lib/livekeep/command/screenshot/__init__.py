"""livekeep screenshot: one module for each kind of display."""
