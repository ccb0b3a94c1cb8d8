"""Snapshots: a chat as plain data, so that another process can go on from it.

`model` has the records. `take` makes them of a chat that stands still. `codec` writes them as JSON
and reads them, and `restore` makes a chat of them. `handover` adds the sockets and the lock.
"""
