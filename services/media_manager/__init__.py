"""Media streams: the audio of calls in applications' hands.

Owns the streams that it serves now: a connection with an application (a WebSocket that the application opened,
or one, an RTP peer or an AudioSocket that Evercall connects to) and the other end of an external media leg in
Asterisk.
Any process serves any stream; one that dies loses none of the calls, and its applications come back to another.

It must not know what a call is doing: `call_manager` makes and removes the leg, and says when it is over. It keeps
nothing that must survive it.

    application ─ doors/ ─ registry ─ domain/stream ─ inner/ ─ RTP, ulaw, 20 ms ─ Asterisk
"""
