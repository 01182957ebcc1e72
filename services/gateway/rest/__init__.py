"""REST: one class per group of calls, `app` with the routes, `edges` around them.

To add a call: a method in `messages`, `sessions`, `groups` or `blocks`, its route in `app`, its body in `openapi`.
"""
