"""A progress bar on standard error, so that a pipe holds only the answer. Nothing is shown without a terminal."""

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar with these columns, which goes away at its end. It is a context manager."""
    console = Console(stderr=True)
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        # Lines of the answer are printed above the bar. Into a pipe they must go as they are.
        redirect_stdout=sys.stdout.isatty(),
    )
