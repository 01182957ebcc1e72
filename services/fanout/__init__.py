"""Fanout: brings every stored message into its members' inboxes and to their connections.

consumes   messages.persisted (group tidings.fanout.expand), deliveries (group
           tidings.fanout.deliver), presence and gateways (without a group)
produces   deliveries, push (message, live, receipts, replaced)
reads      group_members, as of the seq in hand
writes     inbox, inbox_buckets, user_sessions
promises   each member's inbox holds each of its messages once, in seq order (G6);
           a push is a hint (law 11): what is lost is found by a gap and synced

Two workers in one process: expand (per session: members.py and plan.py decide)
and deliver (per user: inbox.py, pushes.py and presence.py decide).
"""
