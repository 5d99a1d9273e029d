"""The network probe: hosts, the name server and the network devices."""
