"""Objects of bytes under keys: media that users upload, and what the archiver moves out of the tables.

base.py is the port. obstore_store.py keeps objects in a local folder or in S3, memory.py in the process.
"""
