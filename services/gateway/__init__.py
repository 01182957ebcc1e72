"""Gateway: the only service that clients talk to.

Consumes `push` (the partition that is its ordinal, from the end it found at
start) and `gateways`; reads the tables.
Produces `messages.inbound`, `receipts.inbound`, `presence`, `gateways`; writes
the table `blocks`.

Promises: an ack is passed on, never made up here; what is refused here was not
published; every queue, table and frame is bounded; a client that is too slow
is closed and resumes by cursor. PROTOCOL.md is the contract with clients.

Where to add: a frame, a REST call, a read, a push: see the package of that name.
A metric: tidings/metrics.py and tidings/metric_series.py. A setting:
settings.py. A query: tidings/store. Then `python -m scripts.reference_tables`.
"""
