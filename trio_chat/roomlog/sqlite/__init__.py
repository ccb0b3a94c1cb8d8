"""The room log in an SQLite file. One thread writes, one reads and one searches.

`log` is the part that the hub calls. `writer` appends (`append`) and tidies (`maintenance`).
`reader` is a thread that reads, and `lookups` has its queries. `file` opens the file and holds its
lock, `schema` describes its tables, and `rows` converts entries to rows.
"""
