"""The exporter: serves the units' states and the machine's metrics to Prometheus and others."""
