"""Health: the exporter, which tells Prometheus and others what all units wrote down."""
