"""The words and constructions that no prose of this project holds: one list for pages, for code and for tests.

STYLE asks for plain English: an actor with a name, and processes and data that are not persons.
"""

import re
from collections.abc import Iterator

MOST_WORDS = 30

_PROCESS = r"(?:gateway|persister|fanout|receipts|worker|stage|server|broker|process|client|SDK|Kafka|Cassandra)s?"
# A construction, and what to write instead.
BANNED = {
    # No actor.
    r"\bwho(?:ever|mever|m)?\b": "name the actor: a user, a client, the gateway; a user that …",
    r"\b(?:no|some|every|any)body\b|\bno one\b": "name the actor: no user, some client, every member",
    # Processes and data as persons.
    r"\b(?:tells?|telling|told|untold|unsaid)\b": "sends, names, distinguishes; receives, is sent",
    r"\b(?:knows|knew|believe[sd]?)\b": "caches, has, reads",
    r"\b(?:hears?|heard)\b": "receives",
    r"\bw[ao]kes? up\b|\bwoken\b": "continues",
    rf"\b{_PROCESS} (?:thinks?|forgets?|remembers?)\b": "caches, reads, drops",
    # Words that only this project used.
    r"\bstrangers?\b": "non-member",
    r"\bnewcomers?\b": "pending connection",
    r"\bcrews?\b": "group receipts",
    r"\banew\b": "again",
    r"\bfor ever\b": "permanently, without end",
    r"\b(?:go|goes|went) on\b": "continues, continued",
    r"\bworks? on\b(?! (?:it|a|at)\b)": "continues",
    r"\bbeside\b": "next to, at the same time as",
    r"\bthrow(?:n|s|ing)? away\b": "reset, dropped",
    r"\blet go\b": "ignored, dropped, released",
    r"\bin hand\b": "current",
    r"\bin turns\b": "alternately, one after the other",
    r"\bin whichever turns\b": "in any order",
    r"\bin line\b": "through the group log",
    r"\bof before\b|\bof old\b": "earlier",
    r"\bonce more\b": "again",
    r"\bfrom anywhere on\b": "from a random position on",
    r"\bway on\b": "action",
    r"\bthe own\b": "its own, their own",
    r"\bjoins? again and again\b": "rejoins",
    r"\bso and not\b": "state the reason with because",
}
_ANY = re.compile("|".join(f"({pattern})" for pattern in BANNED), re.IGNORECASE)
_INSTEAD = list(BANNED.values())


def banned_in(text: str) -> Iterator[tuple[str, str]]:
    """Each banned construction in a text, in order, and what to write instead. The caller leaves out code spans."""
    for hit in _ANY.finditer(text):
        yield hit[0].strip(), _INSTEAD[(hit.lastindex or 0) - 1]
