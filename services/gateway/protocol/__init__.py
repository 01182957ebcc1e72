"""The protocol with clients, and the state of one connection. Pure. docs/PROTOCOL.md is its contract.

`connection` is the state machine of a WebSocket: frames, pushes and ticks in, frames and `effects` out. `frames`
decodes and encodes. `bodies` and `commands` check messages, and `group_commands` checks REST calls for groups.
`send_queue` holds the frames and unacknowledged deliveries of a connection. To add a frame: `frames`, then
`connection` and its table. A frame that needs I/O returns an effect, which `connections/endpoint` performs. Its metric
label is in `tidings/metric_series.py`.
"""
