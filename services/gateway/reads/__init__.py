"""Every question to the tables, batched and cached. A read changes nothing and remembers no right.

`inbox`, `messages`, `sessions`, `session_list`, `groups` and `receipts` answer one kind of question each;
`membership` answers whether a user may ask. Equal reads that wait for each other are made once (`batching`).
To add a read: a method here, `build` to wire it; a new query stands in `tidings/store`.
"""
