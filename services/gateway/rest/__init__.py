"""REST: one class per group of calls, `routes` with every call and its models, `app` and `edges` around them.

To add a call: its request in `protocol.requests`, its query and answer in `models`, a method in `messages`, `sessions`,
`groups` or `blocks`, and its route in `routes`. The check, /openapi.json and /docs follow from these.
"""
