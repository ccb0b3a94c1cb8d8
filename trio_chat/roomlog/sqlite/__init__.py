"""The room log in an SQLite file, with a thread that writes and one that reads."""
