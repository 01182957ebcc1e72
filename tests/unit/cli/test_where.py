"""`tidings where`."""

from tests.unit.cli.shell import Shell
from tidings import ids


def test_where_splits_a_message_id(shell: Shell) -> None:
    ended = shell.run("where", str(ids.message_id(3, 5, 77)))
    assert ended.code == 0
    assert ended.out.startswith("epoch 3\nmessages.inbound partition 5 offset 77\n")
