"""Sockets: one `endpoint` serves them, the `registry` knows them by user and device, `timers` give them time.

`link` joins a connection's state machine to its socket, `live` answers when a connection may go live, `draining` ends
connections when the gateway stops.
"""
