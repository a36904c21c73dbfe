"""What a worker measures, for Prometheus."""
