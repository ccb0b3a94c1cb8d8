"""Snapshots: a chat as plain data, how it is taken, written, read, and made a chat again."""
