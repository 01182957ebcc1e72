"""Builds all reads of one gateway."""

from dataclasses import dataclass

from services.gateway.reads.block_lists import DEFAULT_BLOCK_RULES, BlockLists, BlockRules
from services.gateway.reads.groups import GroupReads
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.known_heads import KnownHeads
from services.gateway.reads.media import MediaReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.receipts import ReceiptReads
from services.gateway.reads.session_list import SessionLists
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from tidings.clock import Clock
from tidings.store.base import ColdRows, Store


@dataclass(frozen=True, slots=True)
class Reads:
    """All reads of the tables, with their caches."""

    block_lists: BlockLists
    groups: GroupReads
    inbox: InboxReads
    known_heads: KnownHeads
    media: MediaReads
    memberships: Memberships
    receipts: ReceiptReads
    session_lists: SessionLists
    session_orders: SessionOrders
    sessions: SessionReads


def build_reads(
    store: Store,
    clock: Clock,
    *,
    block_rules: BlockRules = DEFAULT_BLOCK_RULES,
    history_cache_bytes: int = 0,
    pages_at_once: int = 4,
    cold: ColdRows | None = None,
) -> Reads:
    """`pages_at_once`: inbox pages that are read at the same time; the other resumes wait. `cold` reads the messages of
    cold segments; without it they are unavailable."""
    known_heads = KnownHeads()
    block_lists = BlockLists(store, clock, block_rules)
    messages = MessageReads(store, clock, history_cache_bytes, cold)
    memberships = Memberships(store)
    inbox = InboxReads(store, messages, pages_at_once, known_heads)
    sessions = SessionReads(store, messages, memberships, block_lists, known_heads, cold)
    orders = SessionOrders()
    return Reads(
        block_lists=block_lists,
        groups=GroupReads(store, cold),
        inbox=inbox,
        known_heads=known_heads,
        media=MediaReads(store, memberships),
        memberships=memberships,
        receipts=ReceiptReads(store, memberships, block_lists, cold),
        session_lists=SessionLists(store, inbox, sessions, orders, clock),
        session_orders=orders,
        sessions=sessions,
    )
