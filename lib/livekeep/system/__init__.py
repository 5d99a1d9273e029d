"""One way for each thing that a program asks of the system: HTTP, credentials, processes. Below all parts; knows none of them."""
