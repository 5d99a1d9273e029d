"""The web pages of the box: the screen, the running jobs, their performance, and the errors."""
