"""The daemon: it runs a chat as a process of its own, and obeys its operator.

`run` is one run, from the settings to the exit code. The operator's `commands` find the daemon
(`target`) and reach its `operations` through the control socket (`control`, `control_client`).
`signals` and systemd reach them too. `upgrade` hands the chat over to a new process.
"""
