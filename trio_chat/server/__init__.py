"""The tree of nurseries below a chat, and the order in which they end.

`opening` opens it: the log, the hub and the clients. `clients` houses the tasks of clients, and
`chat` is what a program does with a running chat.
"""
