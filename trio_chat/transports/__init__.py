"""Connections of every kind: how they are accepted, and how their input is read.

Each kind of connection is a `link`, which takes the hub's output: `tcp`, `tls`, `stream` and
`memory`. The task of a `connection` reads its input with a `reader`. `detection` finds out which
protocol the client speaks. `listener` accepts connections.
"""
