"""The protocol: commands, events, and the rules for names and text.

`commands` and `events` are plain records, the same for all dialects. `table` has the commands that
people type. `names` and `text` hold the rules that keep nicks apart and terminals safe.
"""
