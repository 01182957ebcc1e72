"""Log lines as data: JSON in production, readable text in development. They hold no message bodies and no tokens."""

import logging
import socket
import sys

import structlog

from tidings.log_limits import LineLimiter


def configure(service: str, level: str, readable: bool) -> None:
    """Set up structlog and the standard library's logging for one process."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=False) if readable else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    if level != "DEBUG":
        handler.addFilter(LineLimiter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # The libraries log every heartbeat and reconnect, which would hide our lines.
    for name in ("aiokafka", "cassandra", "uvicorn", "websockets"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # In a cluster the host name is the name of the pod.
    place = {} if readable else {"pod": socket.gethostname()}
    structlog.contextvars.bind_contextvars(service=service, **place)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for a module."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound
