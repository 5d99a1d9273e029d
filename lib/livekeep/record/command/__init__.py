"""livekeep record: the record on a terminal. Reads the database; what is to be written, the recorder is asked for."""
