"""Keys and settings: what is taken, and what stops the start."""

from pathlib import Path
from typing import Any

import pytest

from services.gateway.settings import GroupIdSettings, HttpSettings, TokenSettings, read_group_key, read_keys
from tidings.errors import ConfigurationError

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    "tokens", [{}, {"secret": "short"}, {"secret": "a" * 40}, {"keys_file": "missing.pem"}, {"keys_file": __file__}]
)
def test_weak_or_missing_keys_are_refused_outside_development(tokens: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        read_keys(TokenSettings(**tokens), development=False)


def test_the_development_key_is_made_once_and_shared(tmp_path: Path) -> None:
    chosen = TokenSettings(dev_key_file=str(tmp_path / "deep" / "dev.key"))
    first, second = read_keys(chosen, development=True), read_keys(chosen, development=True)
    assert first.signing == second.signing == (tmp_path / "deep" / "dev.key").read_bytes()
    assert (tmp_path / "deep" / "dev.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["dev.key"]


@pytest.mark.parametrize("secret", ["", "short", "a" * 40])
def test_weak_group_secret_is_refused_outside_development(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="TIDINGS_GROUP_ID_SECRET"):
        read_group_key(GroupIdSettings(id_secret=secret), TokenSettings(), development=False)


def test_weak_group_secret_is_refused_in_development_too(tmp_path: Path) -> None:
    tokens = TokenSettings(dev_key_file=str(tmp_path / "dev.key"))
    with pytest.raises(ConfigurationError, match="TIDINGS_GROUP_ID_SECRET"):
        read_group_key(GroupIdSettings(id_secret="short"), tokens, development=True)


def test_group_key_is_of_the_secret_or_the_development_key(tmp_path: Path) -> None:
    tokens = TokenSettings(dev_key_file=str(tmp_path / "dev.key"))
    chosen = GroupIdSettings(id_secret=GOOD_SECRET)
    one = read_group_key(chosen, tokens, development=False)
    assert one == read_group_key(chosen, tokens, development=True)
    assert not (tmp_path / "dev.key").exists()
    shared = [read_group_key(GroupIdSettings(), tokens, development=True) for _ in range(2)]
    assert shared[0] == shared[1] != one
    # It is no key that signs tokens.
    assert shared[0] != (tmp_path / "dev.key").read_bytes()


def test_media_hosts_are_compared_in_lower_case() -> None:
    rules = HttpSettings(media_hosts="Media.Example, cdn.example").body_rules()
    assert rules.media_hosts == {"media.example", "cdn.example"}
