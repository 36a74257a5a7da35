"""Evercall: the code that its services share."""
