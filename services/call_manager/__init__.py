"""Calls: every leg that the platform answers or places, its status, its digits, its prompts.

Owns the call resource and its actor, the audio that Asterisk plays, and the choice of the Asterisk
that an outgoing call starts on. It must not know what a flow means: `flow_manager` hands out runs of
actions, and a call works them off.
"""
