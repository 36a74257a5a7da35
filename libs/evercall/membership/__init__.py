"""Who of a farm is alive: one process's judgement from heartbeats, and from asking where there are none.

`detector` judges and is pure; `watch` hears, asks and tells; `sip` asks.
"""
