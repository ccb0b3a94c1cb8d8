"""The meaning of rules: roles, settings of rooms, mutes, bans, and the right to change each.

Nothing here knows of sessions or of the log. `rules` reads the fields that the log keeps for a
room, and checks who may change which. `spans` reads how long something lasts.
"""
