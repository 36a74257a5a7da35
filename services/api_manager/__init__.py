"""The public REST API: customers, access keys, and the door to everything else.

Owns customers, access keys and what `Idempotency-Key` remembers. It is the only place that
authenticates and authorises: services behind it trust the `customer_id` that it puts into a request.
So no handler takes a customer id from anywhere but `tenant.py`.

It holds no state of calls, flows or numbers, and it must not know what they do.
"""
