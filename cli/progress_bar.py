"""A progress bar on standard error, so that a pipe holds only the answer. Nothing is shown without a terminal."""

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar with these columns, which goes away at its end. It is a context manager."""
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
