"""Transports: the ways in, and how connections are accepted and read.

Each kind of connection is a `link`, which takes the hub's output: `tcp`, `tls`, `stream`, `memory`.
The task of a `connection` reads its input with a `reader`, which finds out by `detection` what the
client speaks. `listener` accepts connections.
"""
