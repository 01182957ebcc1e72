"""Auditor: compares tables and objects with what SEMANTICS promises, in passes without end.

consumes   nothing; it reads the offsets that the group tidings.persister has committed
produces   nothing
reads      segments, messages, message_keys, inboxes, media_refs and media, segments_by_month, and the object store
promises   a finding is a breach that two looks have seen, never a write in progress; it changes nothing
"""
