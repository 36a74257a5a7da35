"""The sixteen keys of a telephone, and the frequencies that sound when one is pressed (ITU-T Q.23)."""

from evercall.media.errors import Code, FormatError

KEYS = "0123456789*#ABCD"
"""In the order of their event codes 0-15 (RFC 4733 §3.2)."""

ROWS = (697, 770, 852, 941)
COLUMNS = (1209, 1336, 1477, 1633)
LAYOUT = ("123A", "456B", "789C", "*0#D")


def frequencies(key: str) -> tuple[int, int]:
    """The low and the high frequency of a key.

    Raises:
        FormatError: there is no such key.
    """
    for row, keys in zip(ROWS, LAYOUT, strict=True):
        if len(key) == 1 and key in keys:
            return row, COLUMNS[keys.index(key)]
    raise FormatError(Code.UNKNOWN_KEY, "a telephone has no such key")
