"""The path to Kafka: rate limits, block lists, stamps, and calls that wait for the answer of a later stage.

`submitter` checks a command, and `publisher` appends it. `pending_calls` holds REST calls until the persister answers.
`watermarks` and `read_marks` pass acks and reads to the receipts service.
"""
