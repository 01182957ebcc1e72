"""Limits and names of the contract with clients (docs/PROTOCOL.md). Pure."""

# The WebSocket's path and subprotocol.
SOCKET_PATH = "/v1/ws"
SUBPROTOCOL = "tidings.v1.json"
# A line of a client, and so a message in JSON. A text of 24 KiB fits without escapes.
FRAME_BYTES = 64 * 1024
# A WebSocket message up to this size is read, and frames in it that are too large get an answer. A larger one closes
# the connection with 1009. A valid message is smaller, even with all characters escaped (ADR 0028: 104,000 bytes).
MESSAGE_BYTES = 256 * 1024
# A message of the server has at most 256 KiB. The rest is for the fields around the items.
PAGE_BYTES = 250 * 1024
# Entries of an inbox page.
MAX_PAGE = 200
# Nested JSON.
MAX_DEPTH = 32
# The sides of an image in pixels.
MAX_SIDE = 16_384
# Every number fits into a double, and so into the int64 of records and tables.
MAX_NUMBER = 2**53 - 1
