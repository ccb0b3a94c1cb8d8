"""HTTP: reading the head of a request, and answering it.

`head` reads it with h11. `request` answers with the page, with an upgrade to a WebSocket, or with
an error. `operators` answers requests for metrics and health.
"""
