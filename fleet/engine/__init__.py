"""What becomes of a run: it knows logs, stores and streams, and neither Kafka nor Faust."""
