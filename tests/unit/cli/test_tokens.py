"""`tidings token`."""

from pathlib import Path

import jwt

from tests.unit.cli.shell import Shell

KEY = "0123456789abcdef" * 4


def test_a_token_is_what_protocol_says_and_checks_with_the_key(shell: Shell, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    ended = shell.run("token", "alice", "--ttl", "60", "--key-file", str(key_file))
    assert ended.code == 0
    claims = jwt.decode(ended.out.strip(), KEY, algorithms=["HS256"], audience="tidings")
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 60
