"""One implementation for each access to the system: HTTP, credentials, processes. Below all parts; imports none of them."""
