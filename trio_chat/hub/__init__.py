"""The hub: the one task that owns the state of a chat.

It works in turns (`hub`). It decides the records of sessions (`decide`, `handlers`): that reads the
state, and gives replies and drafts. The room log makes entries of the drafts. Folding the entries
(`fold`) is all that changes nicks, members and topics (`state`, `user`, `room`). `deliver` puts the
result into outboxes, and `outboxes` sends each of them once a turn. `catching_up` gives slow
consumers what they missed.

A `session` is one connection, and `resume` attaches sessions to users. All other input of the hub
is in `inbox`. `queries` has slow work done, and `pause` has everything stand still.
"""
