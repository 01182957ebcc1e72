"""The members of a group in memory."""

from services.fanout.members import Audience, Members
from services.fanout.plan import deliveries, recipients
from tests.unit.fanout.groups import USERS, GroupLog, members
from tidings import ids


def test_parts_are_cut_alike_for_grown_and_loaded_members() -> None:
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    grown = Members(0, Audience(()))
    for start in range(0, 40, 4):
        added = group.add(start, reversed(USERS[start : start + 4]))
        grown = grown.after(added)
    loaded = Members(added.message.seq, Audience(USERS))
    said = group.say(50)
    planned = [
        [one.SerializeToString() for _, one in deliveries(said, known.after(said).recipients(said), 4)]
        for known in (grown, loaded)
    ]
    assert planned[0] == planned[1]


def test_removal_is_the_last_message_of_the_removed_member() -> None:
    group = GroupLog()
    group.add(0, USERS[:3])
    before = members(3)
    removed, said = group.remove(1, USERS[1]), group.say(2)
    after = before.after(removed)
    assert recipients(removed, after).users == set(USERS[:3])
    assert recipients(said, after.after(said)).users == {USERS[0], USERS[2]}


def test_audience_has_each_user_in_its_own_partition() -> None:
    for partition, users in Audience(USERS).by_partition(8):
        assert {ids.partition_of(user, 8) for user in users} == {partition}
