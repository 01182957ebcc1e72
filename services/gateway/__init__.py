"""Gateway: the only service that clients talk to.

Consumes `push` (the partition with the number of its ordinal, from its end at
start) and `gateways`; reads the tables.
Produces `messages.inbound`, `receipts.inbound`, `presence`, `gateways`; writes
the table `blocks`.

Promises: the gateway forwards acks and never makes one. A refused command was not
published. Every queue, table and frame is bounded. A client that is too slow
is closed and resumes by cursor. PROTOCOL.md is the contract with clients.

Where to add: for a frame, a REST call, a read or a push, the package's docstring
says it. A metric: tidings/metrics.py and tidings/metric_series.py. A setting:
settings.py. A query: tidings/store. Then `python -m scripts.reference_tables`.
"""
