"""Accounts on Redis, for several nodes.

`tables` are all accounts in the memory of a node, with the schema and the queries of the file.
`store` keeps them the same on all nodes: Redis has a hash for each table, and orders the changes.
"""
