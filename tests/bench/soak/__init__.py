"""`make soak`: the platform under half of what it can carry, for an hour, with a kill now and then.

What a test of seconds can't see: memory, descriptors, queues and tables that grow with every call, a call that
is lost once in ten thousand. In the end there is a plot, the samples as a file, and a verdict.
"""
