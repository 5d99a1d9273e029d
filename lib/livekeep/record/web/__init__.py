"""The web pages of the box: what is shown, what runs, how well, and what went wrong."""
