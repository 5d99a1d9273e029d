"""livekeep doctor: one module for each subject of its checks."""
