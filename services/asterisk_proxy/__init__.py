"""Bridges one Asterisk's ARI to the message bus.

Owns the WebSocket that Asterisk opens to it: events go out as messages to the shards of
call_manager, commands come in from the bus and go out on the same socket. Decides nothing about
calls and stores nothing: it must be possible to kill it at any time without losing an event.

How that holds (docs/decisions/0020): the bytes that Asterisk sends are put into memory that a second
process, the keeper, shares, and the socket itself is shared with it too. What was not yet confirmed
by the broker is there for the next proxy, which goes on reading where the last one ended; Asterisk
does not notice. Where the socket does end, Asterisk keeps its events until it is connected again.
"""
