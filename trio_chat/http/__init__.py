"""HTTP: reading the head of a request, and answering it.

`request` reads it, and answers with the page, with an upgrade to a WebSocket, or with an error.
`operators` answers requests for metrics and health.
"""
