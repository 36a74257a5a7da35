"""The leg to Asterisk: one socket and one ticker for all streams of the process."""
