"""Configuration: the settings, where they come from, and the files that they name."""
