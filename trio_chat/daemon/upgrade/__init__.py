"""An upgrade: a running daemon hands its chat over to a new process, or takes it back.

`predecessor` is the old process's side, `successor` the new one's. They talk by `protocol` over a
socket (`wire`), which also carries descriptors. `process` starts the new one, and can end it.
"""
