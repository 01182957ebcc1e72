"""Fanout: brings every stored message into its members' inboxes and to their connections.

consumes   messages.persisted (group tidings.fanout.expand), deliveries (group
           tidings.fanout.deliver), presence and gateways (without a group)
produces   deliveries, push (message, live, receipts, replaced)
reads      group_members, as of the seq of the current message
writes     inbox, inbox_buckets, user_sessions
promises   each member's inbox holds each of its messages once, in seq order (G6);
           a push is a hint: a client finds a lost push by its gap and syncs
           (law 11: a push is a hint, the tables are the truth)

Two workers run in one process. Expand works per session: members.py and plan.py decide.
Deliver works per user: inbox.py, pushes.py and presence.py decide.
"""
