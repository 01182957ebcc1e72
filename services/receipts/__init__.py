"""Receipts: how far each user holds and has read each session, as watermarks that never go back.

consumes   receipts.inbound and messages.persisted (group tidings.receipts)
produces   deliveries (ephemeral: watermarks, and counts for the authors in groups), dead-letters
writes     receipts (delivered, read)
promises   stored and published watermarks are maxima and never pass the head (G8); in a direct
           session the connected devices of both users receive them; unread is arithmetic over
           them (G9); a group has a row per member, never a row per message and member
"""
