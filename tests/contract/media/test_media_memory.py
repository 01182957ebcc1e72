"""The memory of one transfer: at most 8 MiB, however large the object is."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.media.moto_running import ROOT, MotoServer

MAX_GROWTH_MIB = 8.0


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_memory_of_a_transfer_is_bounded(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place = [str(tmp_path)]
    if kind == "s3":
        moto: MotoServer = request.getfixturevalue("moto")
        place = [moto.endpoint, moto.bucket]
    command = [sys.executable, "-m", "tests.contract.media.transfer", *place]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    upload, download = map(float, done.stdout.split())
    assert 0 < upload <= MAX_GROWTH_MIB
    assert download <= MAX_GROWTH_MIB
    sys.stdout.write(f"{kind}: upload {upload} MiB, download {download} MiB\n")
