"""Limits and names of the contract with clients (docs/PROTOCOL.md). Pure."""

# The WebSocket's path and subprotocol.
SOCKET_PATH = "/v1/ws"
SUBPROTOCOL = "tidings.v1.json"
# A client's line, and so a message as it is written in JSON. Text of 24 KiB fits without escapes.
FRAME_BYTES = 64 * 1024
# What a WebSocket message may hold so that it is read, and what is too large in it is answered. More closes 1009 before
# it is in memory. Every legal message stays below it, were each character escaped (ADR 0028: 104,000 bytes).
MESSAGE_BYTES = 256 * 1024
# At most 256 KiB from the server in one message; the rest is for the fields around the items.
PAGE_BYTES = 250 * 1024
# Entries of an inbox page.
MAX_PAGE = 200
# Nested JSON.
MAX_DEPTH = 32
# Every number fits a double, and so fits the int64 of records and tables.
MAX_NUMBER = 2**53 - 1
