"""The room log in an SQLite file, with a thread that writes and one that reads.

`log` is what the hub sees. `writer` appends (`append`) and tidies (`maintenance`); `reader` reads.
`file` opens the file and holds its lock, `schema` says what is in it, and `rows` what a row is.
"""
