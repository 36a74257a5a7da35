"""Durable, sharded actors: the engine of call_manager, flow_manager and conference_manager.

`model` is the pure part that a domain is written in; `runtime` runs it over RabbitMQ and PostgreSQL.
"""
