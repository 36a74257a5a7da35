"""Asterisk's REST interface (ARI): commands as data, events, and both over one WebSocket.

`commands`, `events` and `protocol` are pure: no socket, no clock, no asyncio. `connection` is the
thin IO shell around them. Reference: https://docs.asterisk.org, "Asterisk REST Interface (ARI)".
"""
