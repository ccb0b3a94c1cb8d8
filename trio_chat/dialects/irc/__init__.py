"""IRC: messages of text lines, as the modern IRC documentation and IRCv3 describe them.

`message` has the syntax, `names` the names of rooms and people, `formatting` the codes in texts.
`reading` makes records of lines, with `registration` and `commands`. `encoding` writes events, with
`entries` for what happens in rooms, and `replies` for the rest.
"""
