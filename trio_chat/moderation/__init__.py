"""The meaning of rules: roles, settings of rooms, mutes, bans, and the right to change each.

Nothing here knows of sessions or of the log. `fields` has the names and values that the log keeps
for a room, `rules` what they mean, and `permission` who may change which. `pace` knows who spoke
when in a slow room. `spans` reads how long something lasts.
"""
