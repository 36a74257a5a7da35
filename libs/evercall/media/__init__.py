"""Audio of calls as bytes: packets, codecs, buffers, tones. Usable alone.

Everything here is sans-IO: bytes go in, bytes and values come out; time is an argument called `now`, in
seconds of any clock that does not jump. Nothing opens a socket, reads a clock, logs or awaits, and nothing
of the rest of the platform is imported.

    on the wire     rtp, telephone_event, audiosocket, sln; framing is the one interface over them,
                    encapsulation the list of those that there are
    codecs          g711, g722, l16, opus (optional), wav; transcode chooses between them
    in time         jitter (packets in, when they are due), playout (audio in, 20 ms out), pacer (who owes
                    what now), reorder (numbers only, no time)
    signals         resample, mix, tone, dtmf

"Linear" is always 16-bit signed, little-endian, mono, in `bytes`: what Asterisk calls slin, and what the
machines that this runs on compute with. A frame is 20 ms. docs/media-library.md has examples and figures.
"""
