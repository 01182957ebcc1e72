"""The tests of the SDK and of the command line mirror their modules: each has a test file of its name."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"client": ROOT / "sdk/python/src/tidings_client", "cli": ROOT / "cli"}
ENDS_OF_NAMES = ("_clock", "_closed_logs")  # test_<module>_<part>.py, where one file would be too long

ELSEWHERE = {
    "client/alarm": "one timer; test_client.py runs it",
    "client/drafts": "a record",
    "client/effects": "records",
    "client/errors": "exceptions; test_ids.py and test_outbox.py check their bases",
    "client/handles": "test_client.py waits on handles",
    "client/incoming": "test_client.py reads both streams",
    "client/keeping": "test_client.py and test_own_messages.py restart over files",
    "client/membership": "test_groups.py and test_receiving.py, on system messages",
    "client/socket": "test_client.py has real sockets",
    "cli/chat": "the screen needs a terminal; e2e/test_cli_embedded.py",
    "cli/chat_screen": "the screen needs a terminal; e2e/test_cli_embedded.py",
    "cli/composition": "builds adapters; e2e and integration run them",
    "cli/conversation": "e2e/test_cli_embedded.py",
    "cli/dlq": "reads Kafka and prints; what it decides is dead_letters",
    "cli/help_text": "a text",
    "cli/talk": "e2e/test_cli_embedded.py",
}


def modules_with_logic(package: Path) -> set[str]:
    """Modules that define a function or a class."""
    found = set()
    for path in package.glob("*.py"):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in ast.walk(tree)):
            found.add(path.stem)
    return found - {"__init__", "__main__"}


def names_of_tests(tests: str) -> set[str]:
    stems = {path.stem.removeprefix("test_") for path in (ROOT / "tests/unit" / tests).glob("test_*.py")}
    for end in ENDS_OF_NAMES:
        stems = {stem.removesuffix(end) for stem in stems}
    return stems


@pytest.mark.parametrize("tests", PACKAGES)
def test_every_module_with_logic_has_a_test_file(tests: str) -> None:
    excused = {name.removeprefix(f"{tests}/") for name in ELSEWHERE if name.startswith(f"{tests}/")}
    missing = modules_with_logic(PACKAGES[tests]) - names_of_tests(tests)
    assert missing <= excused
    assert excused <= {path.stem for path in PACKAGES[tests].glob("*.py")} - names_of_tests(tests), (
        "excused without need"
    )


@pytest.mark.parametrize("tests", PACKAGES)
def test_every_test_file_is_named_after_a_module(tests: str) -> None:
    assert names_of_tests(tests) <= {path.stem for path in PACKAGES[tests].glob("*.py")}
