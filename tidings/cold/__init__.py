"""Messages of months ago: moved from the tables to objects, read from there, checked, and moved back.

Read `mover` first: it has the order of the steps, which is why no message is lost. `objects` is the format. `reader` is
the adapter of the port ColdRows, over `cache`. Only `objects` imports pyarrow, and `reader` imports that at the first
read, because a process without cold reads should not pay for it. `archiver`, `verify`, `restore`, `retention` and
`report` are the operator's.
"""
