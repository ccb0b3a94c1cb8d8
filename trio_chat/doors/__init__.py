"""Doors.

The ways in. Each makes a link, which takes what a client is to get, and a task that reads what it
sends.
"""
