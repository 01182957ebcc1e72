"""The loop that persister, fanout and receipts share, and the start, health and settings of every process."""
