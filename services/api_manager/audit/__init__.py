"""The audit log: who did what, on whose behalf, to which object, from where, when, and with which result."""
