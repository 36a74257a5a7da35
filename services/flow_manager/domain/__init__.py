"""The rules of flows: pure functions over data. No IO, no clock, no logging, no await."""
