"""Messages of months ago: moved from the tables to objects, read from there, checked, and moved back.

`archiver` moves, in the order that its docstring states. `objects` is the format, `reader` and `cache` are the gateway's
side. `verify`, `restore`, `retention` and `report` are the operator's.
"""
