"""The API's description: the OpenAPI document, and a page of it that people read.

Both are made from the routes, the request bodies and the contracts, so that they cannot lag behind.
"""
