"""The hub: the one task that owns the state of a chat.

The hub works in turns (`hub`). It decides the records of sessions (`decide`, `handlers`): it reads
the state, and gives replies and drafts (`collect`). The room log makes entries of the drafts. Only
folding these entries (`fold`) changes nicks, members and topics (`state`, `user`, `room`).
`settle` goes through the log's answers, `deliver` puts the entries into outboxes, and `outboxes`
sends each outbox once a turn. `catching_up` gives lagging sessions what they missed.

A `session` is one connection, and `resume` attaches sessions to users. All other input of the hub
is in `inbox`. `queries` runs slow work, `pause` makes the whole chat stand still, and `ending` ends
sessions and the chat.
"""
