"""Heads that the gateway has seen."""

from services.gateway.reads.known_heads import KnownHeads


def test_known_heads_are_bounded_and_never_go_back() -> None:
    heads = KnownHeads(max_sessions=2)
    for session_id, seq in (("a", 5), ("b", 1), ("a", 3), ("c", 2), ("c", 0), ("d", -1)):
        heads.see(session_id, seq)
        assert heads.get("b") <= 1  # a read keeps no session
    assert [heads.get(name) for name in ("a", "b", "c", "d")] == [5, 0, 2, 0]
