"""The judgement: which members have shown no sign of life for too long. Pure: time is an argument, in seconds.

A member (an Asterisk) is lost when for `after` seconds

    nobody has said that it is alive,             heartbeats that say so: `heard`
    it has not answered when it was asked,        `answered`; the answer is a sign of life too
    and we could have heard of it all that time   our own words came back by the same way: `echoed`

The last condition is what keeps a broker that is away, or a process that stood still, from looking like the
death of the whole farm: silence proves something only to who can hear.
"""

from dataclasses import dataclass

SUSPICION = 2.0
"""Seconds without a sign of life after which a member is asked."""

DEAFNESS = 3.0
"""Seconds without our own echo after which we count as deaf."""

FORGOTTEN_AFTER = 600.0
"""Seconds for which the loss of a member is told again and again: what came late is told too."""


@dataclass(slots=True)
class _Member:
    """`life` is the last one that was told of it, `sign` the time of the last sign of that life."""

    life: str
    sign: float


class Detector:
    """Judges from what one process hears."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._members: dict[str, _Member] = {}
        self._echo = float("-inf")
        self._hearing_since = float("inf")

    def echoed(self, now: float) -> None:
        """Our own word came back: we hear."""
        if self._is_deaf(now):
            self._hearing_since = now
        self._echo = now

    def heard(self, member: str, life: str, now: float, *, alive: bool) -> None:
        """Somebody who should know has told of a member. `life` is empty where he does not know it."""
        known = self._members.get(member)
        if not life:
            return
        if known is None:
            # Whoever is told of for the first time is not judged by what was before.
            self._members[member] = _Member(life, now)
        elif alive or known.life != life:
            self._members[member] = _Member(life, now)

    def answered(self, member: str, now: float) -> None:
        """A member has answered."""
        known = self._members.get(member)
        if known is not None:
            known.sign = now

    def suspects(self, now: float) -> list[str]:
        """Members that are to be asked."""
        return [
            name
            for name, member in self._members.items()
            if now - member.sign >= SUSPICION and not self._is_deaf(now)
        ]

    def lost(self, now: float) -> list[tuple[str, str]]:
        """Members that count as lost, with the life that is over. Those who are told long enough are forgotten."""
        if self._is_deaf(now):
            return []
        lost: list[tuple[str, str]] = []
        for name, member in list(self._members.items()):
            silent = now - max(member.sign, self._hearing_since)
            if silent >= self._after + FORGOTTEN_AFTER:
                del self._members[name]
            elif silent >= self._after:
                lost.append((name, member.life))
        return lost

    def _is_deaf(self, now: float) -> bool:
        return now - self._echo > DEAFNESS
