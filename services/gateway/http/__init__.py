"""The public port: uvicorn with time limits, readable refusals, CORS headers, and a limit of sockets.

`server` runs it, and `h11_protocol` parses requests. `socket_limits` keeps files free. `cors` decides which pages may
read answers. `problems` is the format of all errors.
"""
