"""Measurements, each a script: ``python -m benchmarks.bench_ingest``. ``make bench`` runs them all."""
