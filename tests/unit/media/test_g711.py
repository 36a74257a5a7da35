"""G.711, against tables made here, slowly, from the text of the standard: decision values and quantized
values of its tables 1a to 2b, and its tables 3 and 4 for the way from one law to the other."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evercall.media.errors import Code, FormatError
from evercall.media.g711 import (
    alaw_to_linear,
    alaw_to_ulaw,
    linear_to_alaw,
    linear_to_ulaw,
    ulaw_to_alaw,
    ulaw_to_linear,
)
from tests.unit.media.samples import QUICK, packets, spectrum_peak

EVERY_CODE = bytes(range(256))
EVERY_SAMPLE = range(-32768, 32768)


def decision_values(first_steps: list[int]) -> list[int]:
    """x1, x2 … x128: segments of 16 intervals (the first of µ-law of 15 and a half), each twice as wide."""
    values, at = [0], 0
    for step in first_steps:
        at += step
        values.append(at)
    return values


# Table 2a: 1, then 15 steps of 2, then 16 each of 4, 8 … 256, up to 8159 in units of 14 bits.
ULAW_DECISIONS = decision_values([1] + [2] * 15 + [2 << n for n in range(1, 8) for _ in range(16)])
# Table 1a: 32 steps of 2, then 16 each of 4, 8 … 128, up to 4096 in units of 13 bits.
ALAW_DECISIONS = decision_values([2] * 32 + [2 << n for n in range(1, 7) for _ in range(16)])


def quantized(decisions: list[int], first: int) -> list[Fraction]:
    """The value at the decoder's output: the middle of its interval, the first one as the table has it."""
    middles = [Fraction(low + high, 2) for low, high in pairwise(decisions)]
    return [Fraction(first), *middles[1:]]


def ulaw_code(number: int, negative: bool) -> int:
    """Table 2a: the character signal before no inversion at all counts down from all ones."""
    return 0xFF - number - (0x80 if negative else 0)


def alaw_code(number: int, negative: bool) -> int:
    """Table 1a: counts up, and even bits are inverted on the line."""
    return (number | (0 if negative else 0x80)) ^ 0x55


def encode(sample: int, unit: int, decisions: list[int]) -> tuple[int, bool]:
    """Number of the interval that holds a sample. Intervals are closed at their lower end."""
    value = Fraction(sample, unit)
    negative = value < 0
    last = len(decisions) - 2
    for number in range(last):
        if negative and -decisions[number + 1] <= value < -decisions[number]:
            return number, True
        if not negative and decisions[number] <= value < decisions[number + 1]:
            return number, False
    return last, negative


def test_the_decision_values_are_the_standards() -> None:
    """The ends of the segments, as they are printed."""
    assert [ULAW_DECISIONS[n] for n in (1, 16, 32, 48, 64, 80, 96, 112, 128)] == [
        1, 31, 95, 223, 479, 991, 2015, 4063, 8159,
    ]  # fmt: skip
    assert [ALAW_DECISIONS[n] for n in (32, 48, 64, 80, 96, 112, 128)] == [
        64, 128, 256, 512, 1024, 2048, 4096,
    ]  # fmt: skip


def test_ulaw_is_decoded_as_in_table_2() -> None:
    values = quantized(ULAW_DECISIONS, first=0)
    expected = [0] * 256
    for number, value in enumerate(values):
        expected[ulaw_code(number, False)] = int(value * 4)
        expected[ulaw_code(number, True)] = -int(value * 4)
    assert np.frombuffer(ulaw_to_linear(EVERY_CODE), "<i2").tolist() == expected


def test_alaw_is_decoded_as_in_table_1() -> None:
    values = quantized(ALAW_DECISIONS, first=1)
    expected = [0] * 256
    for number, value in enumerate(values):
        expected[alaw_code(number, False)] = int(value * 8)
        expected[alaw_code(number, True)] = -int(value * 8)
    assert np.frombuffer(alaw_to_linear(EVERY_CODE), "<i2").tolist() == expected


def every_sample_encoded(unit: int, decisions: list[int], alaw: bool) -> bytes:
    """Looks only at the borders: between two of them the slow way says the same for all."""
    code = alaw_code if alaw else ulaw_code
    borders = sorted({-32768, 0, *(sign * unit * value for value in decisions for sign in (-1, 1))})
    expected = bytearray()
    for begin, end in zip(borders, [*borders[1:], 32768], strict=True):
        if begin < -32768 or begin >= 32768:
            continue
        last = min(end, 32768) - 1
        number = encode(begin, unit, decisions)
        assert number == encode(last, unit, decisions)
        expected += bytes((code(*number),)) * (last - begin + 1)
    return bytes(expected)


def test_every_sample_is_encoded_to_ulaw_as_in_table_2() -> None:
    samples = np.array(EVERY_SAMPLE, "<i2").tobytes()
    assert linear_to_ulaw(samples) == every_sample_encoded(4, ULAW_DECISIONS, alaw=False)


def test_every_sample_is_encoded_to_alaw_as_in_table_1() -> None:
    samples = np.array(EVERY_SAMPLE, "<i2").tobytes()
    assert linear_to_alaw(samples) == every_sample_encoded(8, ALAW_DECISIONS, alaw=True)


# Tables 3 (µ-A) and 4 (A-µ), as they are printed: the other law's value number for each value number.
MU_A = """
  1   1   2   2   3   3   4   4   5   5   6   6   7   7   8   8   9  10  11  12  13  14  15  16  17  18
 19  20  21  22  23  24  25  27  29  31  33  34  35  36  37  38  39  40  41  42  43  44  46  48  49  50
 51  52  53  54  55  56  57  58  59  60  61  62  64  65  66  67  68  69  70  71  72  73  74  75  76  77
 78  79  80  82  83  84  85  86  87  88  89  90  91  92  93  94  95  96  97  98  99 100 101 102 103 104
105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127 128
"""
A_MU = """
  1   3   5   7   9  11  13  15  16  17  18  19  20  21  22  23  24  25  26  27  28  29  30  31  32  32
 33  33  34  34  35  35  36  37  38  39  40  41  42  43  44  45  46  47  48  48  49  49  50  51  52  53
 54  55  56  57  58  59  60  61  62  63  64  64  65  66  67  68  69  70  71  72  73  74  75  76  77  78
 79  80  80  81  82  83  84  85  86  87  88  89  90  91  92  93  94  95  96  97  98  99 100 101 102 103
104 105 106 107 108 109 110 111 112 113 114 115 116 117 118 119 120 121 122 123 124 125 126 127
"""


@pytest.mark.parametrize("negative", [False, True])
def test_ulaw_becomes_alaw_as_in_table_3(negative: bool) -> None:
    codes = bytes(ulaw_code(number, negative) for number in range(128))
    expected = bytes(alaw_code(int(number) - 1, negative) for number in MU_A.split())
    assert ulaw_to_alaw(codes) == expected


@pytest.mark.parametrize("negative", [False, True])
def test_alaw_becomes_ulaw_as_in_table_4(negative: bool) -> None:
    codes = bytes(alaw_code(number, negative) for number in range(128))
    expected = bytes(ulaw_code(int(number), negative) for number in A_MU.split())
    assert alaw_to_ulaw(codes) == expected


@QUICK
@given(st.binary())
def test_any_codes_survive_the_way_through_linear_audio(codes: bytes) -> None:
    assert linear_to_alaw(alaw_to_linear(codes)) == codes
    # µ-law has two zeros, and linear audio one.
    assert linear_to_ulaw(ulaw_to_linear(codes)) == codes.replace(b"\x7f", b"\xff")


@pytest.mark.parametrize("encoder", [linear_to_ulaw, linear_to_alaw])
def test_half_a_sample_is_refused(encoder: object) -> None:
    assert callable(encoder)
    with pytest.raises(FormatError) as caught:
        encoder(b"\0\0\0")
    assert caught.value.code is Code.ODD_LENGTH


def test_asterisks_milliwatt_is_the_same_tone_in_both_laws() -> None:
    ulaw = b"".join(data[12:] for data in packets("asterisk_ulaw"))
    alaw = b"".join(data[12:] for data in packets("asterisk_alaw"))
    for audio in (ulaw_to_linear(ulaw), alaw_to_linear(alaw), alaw_to_linear(ulaw_to_alaw(ulaw))):
        assert spectrum_peak(audio, 8000) == pytest.approx(1004, abs=1)
