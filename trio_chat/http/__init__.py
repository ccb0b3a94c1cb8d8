"""HTTP: reads the head of a request, and answers it.

`head` reads the head with h11. `request` answers with the page, with an upgrade to a WebSocket, or
with an error. `operators` answers requests for metrics and health.
"""
