"""IRC: messages of text lines, as the modern IRC documentation and IRCv3 describe them.

`message` reads and writes one message. `names` says what rooms and people are called in IRC, and
`formatting` takes the codes of IRC clients out of texts.
"""
