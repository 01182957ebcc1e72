"""From Kafka to connections: `reader` reads this gateway's push partition, and `router` passes each record on.

A push is a hint (law 11): a record that cannot be read is counted and dropped, and the client resumes by cursor.
To add a push: its record in proto/, its sender in services/fanout, a case in `router`, its label in `metric_series`.
"""
