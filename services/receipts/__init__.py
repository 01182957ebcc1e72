"""Receipts: what each user holds and has read, as watermarks that never go back.

consumes   receipts.inbound and messages.persisted (group tidings.receipts)
produces   deliveries (ephemeral: watermarks, and counts for the authors in groups), dead-letters
writes     receipts (delivered, read)
promises   watermarks are maxima, as they are told too, and never pass the head (G8); all connected
           devices of both sides are told; unread is arithmetic over them (G9);
           in groups a row per member, never one per message and member
"""
