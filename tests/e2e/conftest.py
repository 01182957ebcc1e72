"""One whole stack for all tests of this tier: two of each service, so that one can be missed."""

import pytest

from deploy.local.stack import Counts, Stack
from tests.servers import Stacks

# Their assertions print as much as those of the tests.
pytest.register_assert_rewrite("tests.e2e.load", "tests.e2e.group_people", "tests.e2e.raw")

TWO_OF_EACH = Counts(gateways=2, persisters=2, fanouts=2, receipts=2, echoes=1)
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def stack(stacks: Stacks) -> Stack:
    """Everything runs and is ready. A test that stops something brings it back before it ends."""
    stack = stacks.make("e2e", TWO_OF_EACH)
    stack.up()
    return stack


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed at the end of the run, whatever became of the tests."""
    return request.config.stash.setdefault(_FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(line)
