"""The room log in an SQLite file, with a thread that writes, one that reads, and one that searches.

`log` is what the hub sees. `writer` appends (`append`) and tidies (`maintenance`). `reader` is a
thread that reads, and `lookups` says what.
`file` opens the file and holds its lock, `schema` says what is in it, and `rows` what a row is.
"""
