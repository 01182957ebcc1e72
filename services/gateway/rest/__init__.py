"""REST: one class per group of calls. `routes` lists every call with its models; `app` and `edges` are around them.

To add a call, define its request in `protocol.requests`, and its query and answer in `models`. Then add a method in
`messages`, `sessions`, `groups` or `blocks`, and its route in `routes`. The check, /openapi.json and /docs follow.
"""
