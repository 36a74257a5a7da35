"""RabbitMQ: topology, envelopes, requests and answers, events, one supervised connection.

`envelope` and `calls` are pure; `connection` and `bus` do the IO.
"""
