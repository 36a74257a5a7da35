"""`make bench`: what a call costs, how many the farm holds, what the control plane adds to an answer.

Every figure is taken in one run, beside what bare Asterisk does on the same machine a moment later, so that
ratios hold on any machine. A benchmark is not a test: a budget that is missed is printed and does not fail the
run. A measurement that could not be made does.
"""
