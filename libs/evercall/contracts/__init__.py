"""Every message and resource that crosses a process: data only, one module per service.

Nothing here imports another package of ours but `evercall.contracts` itself, and nothing here does IO.
"""
