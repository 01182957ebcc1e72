"""Benchmarks of the whole pipeline, compared with Kafka alone in the same run. README.md has the method."""
