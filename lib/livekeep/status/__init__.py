"""What the units do, read once and judged once: for command, exporter, web pages and alerts."""
