"""What a call is and does, as pure functions over data.

Rule 1: a call's status changes in `transitions` and nowhere else.
Rule 2: nothing here awaits, logs, reads a clock or imports an IO library. Time comes as `now`.
Rule 3: `decide` may run again for the same message, so every id is derived from the call's id.
"""
