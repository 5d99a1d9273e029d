"""livekeep record: the record on a terminal. Reads the database; the recorder makes the changes."""
