"""Lines as a client may send them, nearly right or not at all, for property tests."""

import json

from hypothesis import strategies as st

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["token", "device_id", "ref", "client_msg_id", "session_id", "to", "kind", "body", "reply_to", "mentions", "id"]
)
numbers = st.sampled_from(["attempt", "after", "limit", "inbox_seq", "delivered", "seq"])
known_values = st.sampled_from(
    ["bob", "d:alice:bob", "text", "image", "file", "custom", "m1", {"text": "hi"}, 1, 0, -1]
)
kinds = st.sampled_from(["hello", "send", "sync", "ack", "read", "ping", "pong", "other"])
almost_frames = st.builds(
    lambda kind, fields: json.dumps({"type": kind, **fields}),
    kinds,
    st.dictionaries(names | numbers, known_values | json_values, max_size=8),
)
lines = st.text() | almost_frames | json_values.map(json.dumps) | st.binary().map(lambda b: b.decode("latin-1"))
small_text = st.text(max_size=12)
int64 = st.integers(-(2**63), 2**63 - 1)
