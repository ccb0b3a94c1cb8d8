"""Snapshots: a chat as plain data, so that another process can go on from it.

`model` has the records. `take` makes them of a chat that stands still. `codec` writes them as JSON
and reads them, and `restore` makes a chat of them. `handover` adds the sockets and the lock.

Parts that do not change go over before: `ahead` sends them in `pieces`, and `arrived` keeps them.
"""
