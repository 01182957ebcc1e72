"""The cursor that is safe to save."""

from tests.unit.client.devices import GROUP
from tidings_client.effects import Cursor
from tidings_client.progress import Progress


def test_inbox_part_passes_no_switch_that_the_groups_part_lacks() -> None:
    progress = Progress(inbox_seq=4)
    log, switch = progress.issue(None), progress.issue(5)
    progress.shown(log, "g:other", 8, in_group_log=True)
    progress.shown(switch, GROUP, 3, in_group_log=True)
    assert not progress.handled(switch)
    assert progress.handled(log)
    assert progress.cursor == Cursor(5, {"g:other": 8, GROUP: 3})
