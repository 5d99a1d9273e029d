"""The programs livekeep-recorder and livekeep-tidy."""
