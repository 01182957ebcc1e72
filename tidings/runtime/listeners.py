"""Listening sockets. We open them ourselves, because uvicorn does not report a port in use as a configuration error."""

import socket

from tidings.errors import ConfigurationError

_BACKLOG = 2_048


def bound(host: str, port: int, variables: str, *options: tuple[int, int, int]) -> socket.socket:
    """A TCP socket bound to the address, not listening yet. Accepted sockets inherit `options` (as for setsockopt).

    Raises ConfigurationError, which names `variables`, if the address is not available.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in options:
            listener.setsockopt(*option)
        listener.bind((host, port))
    except (OSError, UnicodeError) as error:
        listener.close()
        raise _refused(host, port, variables, error) from error
    listener.setblocking(False)
    return listener


def listen(listener: socket.socket, variables: str) -> None:
    """Begin to listen. Raises as `bound` does, because only one of two sockets bound to one address can listen."""
    host, port = listener.getsockname()[:2]
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _refused(host, port, variables, error) from error


def _refused(host: str, port: int, variables: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"{variables}: {host}:{port} cannot be listened on: {error}")
