"""The protocol: what clients ask for and are told, and the rules for names and text."""
