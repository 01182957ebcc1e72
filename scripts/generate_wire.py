"""Generate tidings/wire/ from proto/tidings/v1/*.proto. With --check, only report whether it is up to date.

protoc writes `tidings/v1/<name>_pb2.py`. This script moves them to `tidings.wire.<name>_pb2`, so that the
generated code is inside the package, and rewrites the imports between them.
"""

import argparse
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
WIRE = ROOT / "tidings" / "wire"
PACKAGE_DOCSTRING = '"""Generated from proto/tidings/v1 by scripts/generate_wire.py (`make wire`); never edited."""\n'
SIBLING_IMPORT = re.compile(r"^from tidings\.v1 import ", re.MULTILINE)


def generated() -> dict[str, str]:
    """The generated files of tidings/wire/: text by file name."""
    protos = sorted(PROTO_ROOT.glob("tidings/v1/*.proto"))
    if not protos:
        raise SystemExit(f"no .proto files below {PROTO_ROOT}/tidings/v1")
    with tempfile.TemporaryDirectory() as out:
        arguments = [
            f"-I{PROTO_ROOT}",
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={out}",
            f"--pyi_out={out}",
        ]
        if protoc.main(["protoc", *arguments, *map(str, protos)]) != 0:
            raise SystemExit("protoc refused the .proto files; its reasons are above")
        texts = {path.name: path.read_text() for path in Path(out, "tidings", "v1").iterdir()}
    wire = {name: SIBLING_IMPORT.sub("from tidings.wire import ", text) for name, text in texts.items()}
    return wire | {"__init__.py": PACKAGE_DOCSTRING}


def committed() -> dict[str, str]:
    """The existing files of tidings/wire/: text by file name."""
    return {path.name: path.read_text() for pattern in ("*.py", "*.pyi") for path in WIRE.glob(pattern)}


def write(wire: dict[str, str]) -> None:
    WIRE.mkdir(parents=True, exist_ok=True)
    for name in committed().keys() - wire.keys():
        (WIRE / name).unlink()
    for name, text in wire.items():
        (WIRE / name).write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if tidings/wire/ is stale")
    if not parser.parse_args().check:
        write(generated())
        return 0
    wire, present = generated(), committed()
    stale = sorted(name for name in wire.keys() | present.keys() if wire.get(name) != present.get(name))
    if stale:
        print(f"tidings/wire/ is stale ({', '.join(stale)}): run `make wire` and commit the result", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
