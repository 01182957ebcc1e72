"""The limits that gateways and the archiver stamp on commands."""

from tidings import codec
from tidings.runtime.settings import LimitSettings
from tidings.wire.common_pb2 import Stamps


def stamps_of(limits: LimitSettings) -> Stamps:
    """The limits that later stages use (law 1)."""
    return Stamps(
        rules=codec.RULES,
        segment_messages=limits.segment_messages,
        bucket_rows=limits.bucket_rows,
        recipients_per_part=limits.recipients_per_part,
        write_diffusion_max=limits.write_diffusion_max,
        month_shards=limits.month_shards,
        group_members_max=limits.group_members_max,
    )
