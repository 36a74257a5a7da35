"""Numbers, and which flow a called number starts.

Owns the numbers of all customers, whom the administrator assigns them to, and answers `InboundRouteFind`.
It must not know what a flow does, and it does not normalise what a carrier wrote: it takes and gives E.164
with `+` only.

Numbers change rarely and are looked up for every incoming call, so whoever asks may keep the answer.
Events (`<customer_id>.number.created|updated|deleted`) tell it to look again. They are published after
the commit and one is lost if this process dies in between; a cache therefore also needs a time to live.
"""
