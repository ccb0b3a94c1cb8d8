"""Metrics: what is counted and measured, and how it is written for Prometheus."""
