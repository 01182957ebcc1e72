"""The process's limit of open files. Each socket is an open file."""

import contextlib
import resource

# More than any gateway needs. Some machines have no limit, and then the kernel's own limit (fs.nr_open) is this.
_MOST = 1_048_576


def raise_file_limit() -> int:
    """Raise the soft limit to the hard limit where possible. Returns the limit that holds now."""
    soft, hard = (_bounded(limit) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return _bounded(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _bounded(limit: int) -> int:
    return _MOST if limit == resource.RLIM_INFINITY else min(limit, _MOST)
