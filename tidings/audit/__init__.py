"""A standing comparison of the tables and objects with what SEMANTICS promises. It only reads.

`rules` decides over rows. `sessions`, `inboxes`, `keys` and `objects` each look at one place at a time. `auditor` walks
through all of them. The audit judges a row only if the persister had confirmed the row's command before it was read.
A finding counts only if a second look, after a settling time, has it too.

Cold segments are compared with the directory alone: their number of messages, and that their object exists. Only
`tidings archive verify` reads the bytes of objects.
"""
