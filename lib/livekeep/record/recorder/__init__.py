"""The program of livekeep-recorder, and of livekeep-tidy."""
