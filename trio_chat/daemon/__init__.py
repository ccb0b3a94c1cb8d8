"""The daemon: it runs a chat as a process of its own, and does what its owner asks of it.

`run` is its life, from the settings to the last line of the log. Its owner asks through the control
socket (`control`, `control_client`), by signals, or through systemd. `upgrade` hands the chat over
to a new process.
"""
