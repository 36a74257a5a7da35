"""Owns flows, activeflows and their variables.

A flow is a list of actions that a customer wrote; an activeflow is one execution of it. This service
decides what comes next and hands it out as runs. It must not touch calls, channels or media: the
executor of a run (`call_manager`) does, and reports back once per run.
"""
