"""Audits among the processes of a run with archivers, while everything fails, and at its end. None has a finding."""

import asyncio

from tests.faults.media import FaultyMediaStore
from tests.simulation.ports import EPOCH, Servers
from tidings.audit.auditor import END, Auditor, AuditRules
from tidings.audit.rules import Finding
from tidings.cold.closing import KafkaClosingLog
from tidings.cold.ports import Ports
from tidings.errors import Retryable
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.memory_audit import MemoryAuditTables
from tidings.wire.common_pb2 import Stamps

# Virtual seconds between two audits: while everything fails, and during the minutes in which it comes to rest.
_OFTEN_S, _OFTEN, _RARELY_S = 1.0, 15, 15.0
_RULES = AuditRules(settle_s=3.0)


class Auditing:
    """What the audits of one run have found. `passes`: how many have ended while the run was under way."""

    def __init__(self, servers: Servers, objects: FaultyMediaStore) -> None:
        self._servers = servers
        self._objects = objects
        self.found: list[Finding] = []
        self.passes = 0

    async def go(self) -> None:
        """Audit again and again."""
        while True:
            await self.audit()
            self.passes += 1
            await asyncio.sleep(_OFTEN_S if self.passes < _OFTEN else _RARELY_S)

    async def audit(self) -> None:
        """One whole pass, which continues where a call has failed."""
        servers = self._servers
        broker, partitions = servers.broker, servers.sizes.session_partitions
        log = KafkaClosingLog(broker.producer("audit"), broker.admin(), Stamps(), EPOCH, partitions)
        # As gateways read: a quorum has repaired whatever it returned.
        store = servers.read_store
        ports = Ports(MemoryArchiveTables(store), store, self._objects, log, servers.tables_clock)
        auditor = Auditor(ports, MemoryAuditTables(store), _RULES, say=self.found.append)
        while auditor.audited.place != END:
            try:
                await auditor.run()
            except Retryable:
                await asyncio.sleep(0.5)
