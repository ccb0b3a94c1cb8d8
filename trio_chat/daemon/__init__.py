"""The daemon: what runs a chat as a process of its own, and what its owner can ask of it."""
