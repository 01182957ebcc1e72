"""All reads of the tables, batched and cached. No read changes anything, and no permission is cached here.

`inbox`, `messages`, `sessions`, `session_list`, `groups` and `receipts` each serve one kind of read. `membership`
checks whether a user may read a session. `batching` joins equal reads that wait at the same time.
To add a read: add a method here and wire it in `build`; a new query goes into `tidings/store`.
"""
