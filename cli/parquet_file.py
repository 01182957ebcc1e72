"""Messages in a Parquet file, for tools that read tables."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from tidings.errors import ConfigurationError
from tidings_client import Message

# A row group is in memory as a whole, here and in readers. 5,000 messages take about 5 MB; longer ones fill it earlier.
GROUP_ROWS = 5_000
_GROUP_BODY_BYTES = 16 * 1024 * 1024


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[Callable[[Sequence[Message]], None]]:
    """Write messages to a new file while the block runs. Raises ConfigurationError without the package pyarrow."""
    try:
        # Loaded here, because it takes a third of a second and most verbs need none.
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ConfigurationError("the format parquet needs the package pyarrow: pip install pyarrow") from error
    schema = _schema(pyarrow)
    rows: list[dict[str, object]] = []
    body_bytes = 0
    with ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            nonlocal body_bytes
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            rows.clear()
            body_bytes = 0

        def write(messages: Sequence[Message]) -> None:
            nonlocal body_bytes
            for message in messages:
                body = orjson.dumps(message.body)
                rows.append(_row(message, body))
                body_bytes += len(body)
                if len(rows) == GROUP_ROWS or body_bytes >= _GROUP_BODY_BYTES:
                    flush()

        yield write
        if rows:
            flush()


def _schema(pyarrow: Any) -> Any:
    """`body` is JSON text, and `at` a time in UTC."""
    number, text = pyarrow.int64(), pyarrow.string()
    required = [
        ("seq", number),
        ("message_id", number),
        ("sender_id", text),
        ("client_msg_id", text),
        ("kind", text),
        ("body", text),
        ("at", pyarrow.timestamp("ms", tz="UTC")),
    ]
    optional = [("reply_to", number), ("mentions", pyarrow.list_(text))]
    fields = [pyarrow.field(name, kind, nullable=False) for name, kind in required]
    return pyarrow.schema([*fields, *(pyarrow.field(name, kind) for name, kind in optional)])


def _row(message: Message, body: bytes) -> dict[str, object]:
    return {
        "seq": message.seq,
        "message_id": int(message.message_id),
        "sender_id": message.sender_id,
        "client_msg_id": message.client_msg_id,
        "kind": message.kind,
        "body": body.decode(),
        "at": message.at,
        "reply_to": message.reply_to,
        "mentions": message.mentions,
    }
