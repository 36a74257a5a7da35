"""Part `bare`: what Asterisk does alone, by its dialplan, called directly. The yardstick of all other parts."""

from tests.bench.bench import RATE, Bench
from tests.bench.measure import highest_rate
from tests.bench.report import Section, percentile

FIRST_RATE = 100.0
MOST_SECONDS = 150.0


def run(bench: Bench) -> None:
    """Measures cost and delay at the usual rate, then the highest rate."""
    usual = bench.bare()
    section = Section(f"Bare Asterisk ({bench.asterisk[0].name}, dialplan only)")
    for cost in usual.ms_per_call().values():
        section.add("bare_asterisk_cpu", "CPU per call", cost, "ms")
    answers = usual.load.answer_ms
    for share in (50, 95, 99):
        value = percentile(answers, share / 100)
        section.add(
            f"bare_answer_p{share}", f"INVITE to 200 at {RATE:g} calls/s, p{share}", value, "ms"
        )
    bench.say("bare Asterisk: the highest rate")
    held, tried = highest_rate(
        bench.lab,
        bench.bare_load,
        lambda _calls: [],
        bench.search(FIRST_RATE, MOST_SECONDS),
        bench.say,
    )
    bench.report.runs += [result.as_data() for result in tried]
    title = f"calls/s held for {bench.seconds:g} s without a failure"
    section.add("bare_highest_rate", title, held, "calls/s")
    section.notes += [note for note in [usual.noise()] if note]
    bench.show(section)
