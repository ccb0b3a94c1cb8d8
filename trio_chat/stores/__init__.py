"""Back up, restore and copy whole stores.

`places` reads the name of a store. `backup` copies the pages of an SQLite file, and `replacement`
puts a file in its place once it is complete. `copying` copies the rooms of any store to any other,
through the interface in `bulk`: `sqlite_bulk` is for files, `redis_bulk` for Redis.
"""
