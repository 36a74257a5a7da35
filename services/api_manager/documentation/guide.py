"""The introduction of the API's documentation, in simple Markdown."""

GUIDE = """
Evercall's REST API places calls, steers them with flows, and shows what became of them. Everything is
JSON over HTTP. Times are UTC (RFC 3339), ids are UUIDs, numbers are E.164 with `+`.

## Credentials

A program calls with its access key, `Authorization: Bearer ec_…`. Where the key itself should not go
(a browser, the URL of a WebSocket), exchange it for a token that lives for some minutes:

```
curl -X POST $API/auth/token -H 'Content-Type: application/json' -d '{"accesskey": "ec_…"}'
```

A credential is looked for in this order, and the first one found counts: a token in the cookie `token`,
the query parameter `token` or the header `Authorization: Bearer`; then an access key in the cookie or
the query parameter `accesskey`. The header takes either kind. Cookies (4096 bytes of them at most) and
access keys in a URL count for `GET` only, and cookies not for a WebSocket. Prefer the header: URLs end up
in logs.

Everything belongs to a customer, and credentials see their own customer's rows only; an id of somebody
else's is `404`. The administrator of the platform acts for a customer with the query parameter
`customer_id`, which every operation but those on customers takes.

## Scopes

An access key is made for something: its `scopes` say what. They never change; make another key instead.

- `read`: see calls, activeflows, flows and numbers.
- `calls`: place, end and delete calls; stop and delete activeflows; write and delete flows.
- `media`: open the audio of calls.
- `admin`: manage access keys and numbers, and read the audit log. Keys are managed with a key only, never
  with a token.

Where none are named, a new key or token gets all but `admin`. A key cannot grant a scope that it does not
have. A token may have fewer than its key, and for a URL it should: `"scopes": ["media"]`, or a `call_id`,
which makes it good for the audio of one call. What is missing is `403`, `SCOPE_MISSING`, and
`details[0].scope` names it.

## Pages

Lists come newest first, `page_size` rows at a time (20, at most 100), with a `next_page_token` for the
next page; it is empty on the last page. Rows that appear while you read do not shift the pages.

## Saying it again

Networks fail between a request and its answer. Give a `POST` an `Idempotency-Key` (any text of your
own, best a random one) and repeat it as it was until you have an answer: it is carried out once. For 24
hours a repeated request gets the first answer again, marked `Idempotency-Replayed: true`. Failures are
not kept: after an error the same request with the same key is tried anew, and still creates nothing
twice.

## Errors

Every answer that is not a success has this body. Branch on `reason`; it does not change.

```
{"error": {"status": "INVALID_ARGUMENT", "reason": "INVALID_ARGUMENT",
           "message": "The request is not valid", "request_id": "0199…",
           "details": [{"field": "destinations[0].target", "message": "a sip target is …"}]}}
```

`request_id` also comes with every answer in the header `X-Request-Id`; send one of your own and we use
it. A field that is not known is an error, so that a misspelt one is not lost. `429` and `503` say in
`Retry-After` how long to wait.
"""
