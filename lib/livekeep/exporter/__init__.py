"""The exporter: serves what all units write, and how the machine is, to Prometheus and others."""
