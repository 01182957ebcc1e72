"""Persister: gives every message its seq, stores it, then acks it.

consumes   messages.inbound (group tidings.persister)
produces   messages.persisted, push (send_ack, send_error), dead-letters
writes     messages, message_keys, segments, segments_by_month, groups, group_members, receipts (sent)
promises   a command is acked only after a quorum has stored its message (law 8);
           one (session, sender, client_msg_id) has one seq (G2); seqs have no gaps (G3);
           a user outside a group can neither act on it nor find out that it exists (G11)

Reading order: worker.py holds the order of the steps, sequence.py decides one command.
For groups, membership.py decides about members and administration.py about roles and
settings; both follow the rules in groups.py.
"""
