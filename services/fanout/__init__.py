"""Fanout: brings every stored message into its members' inboxes and to their connections.

consumes   messages.persisted (group tidings.fanout.expand), deliveries (group
           tidings.fanout.deliver), presence and gateways (without a group)
produces   deliveries, push (message, live, receipts, replaced)
writes     inbox, inbox_buckets, user_sessions
promises   each member's inbox holds each of its messages once, in seq order (G6);
           a push is a hint (law 11): what is lost is found by a gap and synced

Two workers in one process: expand (per session: plan.py decides) and deliver
(per user: inbox.py and presence.py decide).
"""
