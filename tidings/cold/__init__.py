"""Archived messages: objects of many segments in the object store, and reading them.

`objects.py` has the format. `reader.py` is the adapter of the port ColdRows, over `cache.py`. Only `objects.py` imports
pyarrow, and `reader.py` imports that at the first read, because a process without cold reads should not pay for it.
"""
