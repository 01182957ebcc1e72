"""Persister: gives every message its seq and its place in the tables, then acks it.

consumes   messages.inbound (group tidings.persister)
produces   messages.persisted, push (send_ack, send_error), dead-letters
writes     messages, message_keys, segments, segments_by_month, groups, group_members, receipts (sent)
promises   a command is acked only after a quorum has stored its message (law 8);
           one (session, sender, client_msg_id) has one seq (G2); seqs have no holes (G3);
           who is not a member can do nothing to a group, nor find out that it exists (G11)

Reading order: worker.py says what happens in which order, sequence.py decides; of groups
membership.py (who is in) and administration.py (what holds), by the rules of groups.py.
"""
