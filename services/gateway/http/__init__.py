"""The public port: uvicorn with bounded times, readable refusals, headers for pages, and a limit of sockets.

`server` runs it, `h11_protocol` parses requests, `socket_limits` keeps files free, `cors` decides which pages may read,
`problems` is the one shape of every error.
"""
