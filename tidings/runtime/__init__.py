"""The one loop that persister, fanout and receipts share, and what every process needs around it."""
