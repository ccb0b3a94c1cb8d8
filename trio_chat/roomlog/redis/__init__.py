"""The room log that several processes share on a server of Redis or Valkey, the *engine*.

It needs the package hiredis, so only a chat with such a store imports these modules.
"""
