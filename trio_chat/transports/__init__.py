"""Transports: the ways in, and how connections are accepted and read.

Each makes a link, which takes what a client is to get, and a task that reads what it sends.
"""
