"""Configuration: the settings, where they come from, and the files that they name.

`settings` lists them all. `sources` finds their values: in flags, in the environment, in a file.
`validators` and `endpoints` check single values, `contradictions` checks all together. `changes`
says when a new value counts. The other modules read the files that settings name.
"""
