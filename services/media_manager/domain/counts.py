"""What all streams of a process have done, for its metrics: plain numbers, because they are counted often."""


class Counts:
    """Packets of 20 ms, except where it says otherwise."""

    __slots__ = (
        "behind",
        "faults",
        "heard",
        "late",
        "lost",
        "overflowed",
        "played",
        "spoken",
        "strange",
    )

    def __init__(self) -> None:
        self.heard = 0
        """messages with audio from applications"""
        self.played = 0
        """to Asterisk"""
        self.spoken = 0
        """from Asterisk"""
        self.lost = 0
        """from Asterisk, and never came"""
        self.late = 0
        """from Asterisk, after their turn"""
        self.strange = 0
        """from Asterisk, and no ulaw"""
        self.behind = 0
        """for applications that did not read them"""
        self.overflowed = 0
        """bytes from applications that did not fit the queue"""
        self.faults: dict[str, int] = {}
        """messages of applications that were left out, by the code that was told"""
