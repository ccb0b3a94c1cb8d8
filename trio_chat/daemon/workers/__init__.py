"""Several processes of one machine that serve the same port, each a daemon of its own.

A parent process starts them, and is to them what systemd is to a daemon. It holds the sockets, and
hears from each worker that it is ready. If one has ended, it starts another. It passes the
operator's commands on. It serves no client.

`parent` is one run of it, `holdings` is what it has, and `keeper` keeps the workers alive. A
`worker` has a process (`children`), sockets (`sockets`) and a way to be heard (`notices`). `role`
is what it is told by its parent. `operations` are the operator's commands, which ask each worker
(`asking`) and put the answers together (`together`). `replacement` is how the parent becomes a
newer version of itself.
"""
