"""What a client may say, and the state of one connection. Pure: docs/PROTOCOL.md is its contract.

`connection` is the state machine of a WebSocket: frames, pushes and ticks in, frames and `effects` out. `frames`
decodes and encodes, `bodies` and `commands` check messages, `group_commands` checks what REST says about groups, and
`send_queue` holds what a connection was sent. To add a frame: `frames`, then
`connection` and its table. A frame that needs the outside returns an effect, which `connections/endpoint` performs;
its label stands in `tidings/metric_series.py`.
"""
