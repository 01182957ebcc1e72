"""The words of groups fit the tables and the records."""

from typing import get_args

from tidings import groups
from tidings.store import rows
from tidings.wire.inbound_pb2 import GroupSettings


def test_settings_are_those_of_the_record() -> None:
    fields = {field.name for field in GroupSettings.DESCRIPTOR.fields}
    assert fields == groups.DEFAULT_SETTINGS.keys()
    assert {groups.SHARE_HISTORY, groups.WHO_CAN_SEND, groups.WHO_CAN_ADD} == fields


def test_every_role_and_mode_of_the_tables_has_a_word() -> None:
    roles = {value for name, value in vars(rows).items() if name.startswith("ROLE_")}
    modes = {value for name, value in vars(rows).items() if name.startswith("MODE_")}
    assert roles == groups.ROLE_NAMES.keys()
    assert modes == groups.MODE_NAMES.keys()
    assert set(get_args(groups.Role)) == set(groups.ROLE_NAMES.values()) == groups.ROLES.keys()
    assert set(get_args(groups.Mode)) == set(groups.MODE_NAMES.values())
    assert {groups.role_name(role) for role in roles} == groups.ROLES.keys()
    assert {groups.mode_name(mode) for mode in modes} == {"write", "read"}
    assert {*groups.GIVEN_ROLES} == groups.ROLES.keys() - {"owner"}
