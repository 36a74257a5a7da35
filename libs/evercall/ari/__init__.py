"""Asterisk's REST interface (ARI): commands as data, events, and both over one WebSocket.

All of it is pure: no socket, no clock, no asyncio. The IO around it is `asterisk_proxy`, the only
process that speaks with Asterisk. Reference: https://docs.asterisk.org, "Asterisk REST Interface
(ARI)".
"""
