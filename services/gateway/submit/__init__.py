"""The way to Kafka: rate limits, block lists, stamps, and what waits for the answer of a later stage.

`submitter` checks a command, `publisher` appends it. `pending_calls` holds REST calls until the persister answers,
`watermarks` and `read_marks` carry acks and reads to the receipts service.
"""
