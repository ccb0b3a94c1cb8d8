"""Metrics: the numbers of a chat, and how they are written for Prometheus.

`statistics` takes all numbers in one step. `catalogue` names and explains each metric, and
`prometheus` writes them.
"""
