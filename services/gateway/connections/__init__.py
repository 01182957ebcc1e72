"""Sockets: `endpoint` serves them, `registry` finds them by user and device, and `timers` drives their timers.

`link` joins a connection's state machine to its socket. `live` sends `live` and heads. `draining` ends the connections
when the gateway stops.
"""
