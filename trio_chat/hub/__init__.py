"""The hub: the one task that owns users, rooms and nicks, and each step of its turns."""
