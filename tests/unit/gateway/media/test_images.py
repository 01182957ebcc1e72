"""Examining images with real children: what a bad image or a bad moment does, and what it leaves behind."""

import asyncio
import contextlib
import os
import resource
import sys
import zlib
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from PIL import Image

from services.gateway.media import images
from services.gateway.media.image_child import NICENESS
from services.gateway.media.images import ExaminedImage, ImageExaminer, ImageLimits
from tests.unit.gateway.media.pictures import (
    FORMATS,
    SECRET,
    TYPES,
    animation,
    exif,
    gif_frames,
    opened,
    picture,
    pixels,
    png,
    png_bomb,
    png_chunk,
)
from tests.waiting import until
from tidings import metrics
from tidings.errors import Refused

LIMITS = ImageLimits(wall_seconds=60, wait_seconds=60)
HANGS = "import sys, time; sys.stdout.write('ready\\n'); sys.stdout.flush(); time.sleep(600)"


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "upload"
    path.write_bytes(data)
    return path


async def refusal(examining: Coroutine[Any, Any, ExaminedImage]) -> Refused:
    with pytest.raises(Refused) as caught:
        await examining
    return caught.value


_SERVERS = set[int]()


@pytest.fixture(autouse=True)
def _servers_of_other_tests() -> None:
    """Kafka and Cassandra may run if this tier follows another one."""
    _SERVERS.clear()
    _SERVERS.update(children())


def children() -> set[int]:
    """The new processes whose parent is this one. The thread of a call may be any of its threads."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has ended
            found.update(int(pid) for pid in (task / "children").read_text().split())
    return found - _SERVERS


def as_child(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """Start this program as the child."""
    (folder / "odd_child.py").write_text(source)
    monkeypatch.setattr(images, "_CHILD", "odd_child")
    monkeypatch.setattr(images, "_environment", lambda: {"PYTHONPATH": str(folder)})


@pytest.mark.parametrize("kind", FORMATS)
async def test_image_is_examined_and_rewritten(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, picture(kind, pixels(800, 400), exif=exif(6)) + SECRET)
    image = await ImageExaminer(LIMITS).examine(path)
    sides = (800, 400) if kind == "GIF" else (400, 800)
    assert (image.width, image.height, image.content_type, image.size) == (*sides, TYPES[kind], path.stat().st_size)
    assert opened(image.thumb).size == ((320, 160) if kind == "GIF" else (160, 320))
    assert SECRET not in path.read_bytes()
    assert os.listdir(tmp_path) == [path.name]


def test_image_is_examined_on_uvloop(tmp_path: Path) -> None:
    path = stored(tmp_path, picture("PNG"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ImageExaminer(LIMITS).examine(path)).width == 40
        assert runner.run(refusal(ImageExaminer(LIMITS).examine(stored(tmp_path, b"")))).code == "invalid_body"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
        (picture("JPEG")[:-40], "cut off"),
        (picture("PNG", pixels(400, 400))[:-4], "cut off"),
        (png_bomb(10_000, 8_000), "megapixels"),
        (gif_frames(10_000), "frames"),
        (png(5000, 5000, png_chunk(b"IDAT", b"x\x9c\x03\0\0\0\0\1")), "cannot be decoded"),
        (png(20, 20, png_chunk(b"IDAT", b"no zlib")), "cannot be decoded"),
    ],
    ids=["empty", "svg", "cut jpeg", "cut png", "bomb", "gif of 10,000 frames", "short pixels", "broken pixels"],
)
async def test_bad_image_is_refused_and_unchanged(tmp_path: Path, data: bytes, text: str) -> None:
    path = stored(tmp_path, data)
    error = await refusal(ImageExaminer(LIMITS).examine(path))
    assert (error.code, text in error.text) == ("invalid_body", True)
    assert path.read_bytes() == data
    assert os.listdir(tmp_path) == [path.name]
    assert children() == set()


async def test_every_kind_is_decoded_inside_the_limits(tmp_path: Path) -> None:
    examiner = ImageExaminer(LIMITS)
    pngs = [picture("PNG", pixels(400, 300, mode)) for mode in ("1", "L", "LA", "P", "RGBA")]
    jpegs = [picture("JPEG", pixels(400, 300, mode), progressive=True, exif=exif(3)) for mode in ("L", "CMYK")]
    webps = [picture("WEBP", pixels(400, 300, "RGBA"), lossless=True, exif=exif(3))]
    moving = [animation(kind) for kind in ("PNG", "GIF", "WEBP")]
    deep = [
        picture("PNG", Image.new("I;16", (400, 300), 9000)),
        picture("PNG", pixels(400, 300), transparency=(255, 0, 0)),
    ]
    profiled = [picture("JPEG", pixels(400, 300), icc_profile=b"p" * 200_000)]
    for data in [*pngs, *jpegs, *webps, *moving, *deep, *profiled]:
        image = await examiner.examine(stored(tmp_path, data))
        assert (image.width, image.height) in ((400, 300), (40, 30))


async def test_animation_is_examined_by_its_first_frame(tmp_path: Path) -> None:
    image = await ImageExaminer(LIMITS).examine(stored(tmp_path, gif_frames(2_000)))
    assert (image.width, image.height) == (10, 10)


# -- the metric ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("", "answered"),
        ("import sys; sys.exit(3)", "not_started"),
        ("print('ready', flush=True); 1 / 0", "failed"),
        ("print('ready'); print('x' * 9_000_000)", "failed"),
        (HANGS, "timed_out"),
    ],
)
async def test_each_process_is_counted_by_its_outcome(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, outcome: str
) -> None:
    if source:
        as_child(monkeypatch, tmp_path, source)
    before = processes()
    examining = ImageExaminer(replace(LIMITS, wall_seconds=1.5)).examine(stored(tmp_path, picture("PNG")))
    if source:
        await refusal(examining)
    else:
        await examining
    assert processes() - before == Counter({outcome: 1})


def processes() -> Counter[str]:
    names = ("answered", "failed", "timed_out", "not_started")
    return Counter({name: int(metrics.IMAGE_PROCESSES.labels(name)._value.get()) for name in names})


# -- limits ----------------------------------------------------------------------------------------


async def test_image_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, png_bomb(5000, 5000))
    limits = replace(LIMITS, memory_bytes=128 * 1024 * 1024)
    assert "cannot be decoded" in (await refusal(ImageExaminer(limits).examine(path))).text
    assert (await ImageExaminer(LIMITS).examine(path)).width == 5000


async def test_child_is_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = f"""
import os, resource, socket, sys
sys.path[:0] = {images._environment()["PYTHONPATH"].split(os.pathsep)!r}
from services.gateway.media import image_child

def examined(source, target):
    faults = []
    for name, act in {{
        "file": lambda: open("/etc/hostname"),
        "socket": lambda: socket.socket(),
        "size": lambda: (target.write(b"x" * 100_000), target.flush()),
        "memory": lambda: bytearray(900_000_000),
    }}.items():
        try:
            act()
        except (OSError, MemoryError) as error:
            faults.append(name)
    facts = dict(width=1, height=1, size=1, content_type="image/png")
    about = dict(faults=faults, environment=sorted(os.environ), group=os.getpgid(0) == os.getpid(), nice=os.nice(0),
        cpu=resource.getrlimit(resource.RLIMIT_CPU), core=resource.getrlimit(resource.RLIMIT_CORE),
        files=resource.getrlimit(resource.RLIMIT_NOFILE))
    return facts, repr(about).encode()

image_child.examined = examined
image_child.main(*map(int, sys.argv[1:]))
"""
    as_child(monkeypatch, tmp_path, source)
    image = await ImageExaminer(LIMITS).examine(stored(tmp_path, b"x"))
    about = eval(image.thumb)
    assert about["faults"] == ["file", "socket", "size", "memory"]
    assert set(about["environment"]) <= {"PYTHONPATH", "LC_CTYPE"}
    assert about["group"] is True
    assert about["nice"] == min(os.nice(0) + NICENESS, 19)
    assert (about["cpu"], about["core"], about["files"]) == ((10, 11), (0, 0), (4, 4))


@pytest.mark.parametrize(
    ("source", "code", "text"),
    [
        ("import sys; sys.exit(3)", "unavailable", "does not start"),
        ("import os; os.kill(os.getpid(), 9)", "unavailable", "does not start"),
        ("print('ready', flush=True); import os; os.kill(os.getpid(), 9)", "invalid_body", "cannot be decoded"),
        ("print('ready', flush=True); import os; os.kill(os.getpid(), 11)", "invalid_body", "cannot be decoded"),
        ("print('ready', flush=True); 1 / 0", "invalid_body", "cannot be decoded"),
        ("print('ready', flush=True)", "invalid_body", "cannot be decoded"),
        ("print('ready'); print('{}')", "invalid_body", "cannot be decoded"),
        ("print('ready'); print('x' * 9_000_000)", "invalid_body", "cannot be decoded"),
        ('print(\'ready\'); print(\'{"code":"unavailable","text":"no space"}\')', "unavailable", "no space; retry"),
    ],
)
async def test_odd_child_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, code: str, text: str
) -> None:
    as_child(monkeypatch, tmp_path, source)
    error = await refusal(ImageExaminer(LIMITS).examine(stored(tmp_path, b"x")))
    assert (error.code, text in error.text) == (code, True)
    assert error.is_retryable == (code == "unavailable")
    assert not (tmp_path / "upload.stripped").exists()
    assert children() == set()


async def test_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_child(monkeypatch, tmp_path, "import time\nwhile True: print('x' * 65536, flush=True); time.sleep(0.01)")
    begun = asyncio.get_running_loop().time()
    error = await refusal(ImageExaminer(replace(LIMITS, wall_seconds=20)).examine(stored(tmp_path, b"x")))
    assert "cannot be decoded" in error.text
    assert asyncio.get_running_loop().time() - begun < 15


async def test_a_child_is_nice_from_its_begin_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its imports take longer than most images."""
    as_child(monkeypatch, tmp_path, "import time; time.sleep(600)")
    examining = asyncio.ensure_future(ImageExaminer(LIMITS).examine(stored(tmp_path, b"x")))
    await until(children)
    (pid,) = children()
    wanted = min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19)
    await until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == wanted)
    examining.cancel()
    await asyncio.wait([examining])


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="a kernel without scheduling groups")
async def test_scheduling_group_of_a_child_is_nice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = f"""
import os, sys, time
sys.path[:0] = {images._environment()["PYTHONPATH"].split(os.pathsep)!r}
from services.gateway.media import image_child

image_child.examined = lambda *_: time.sleep(600)
image_child.main(*map(int, sys.argv[1:]))
"""
    as_child(monkeypatch, tmp_path, source)
    examining = asyncio.ensure_future(ImageExaminer(LIMITS).examine(stored(tmp_path, b"x")))
    await until(children)
    (pid,) = children()
    group = Path(f"/proc/{pid}/autogroup")
    await until(lambda: group.read_text().endswith(f"nice {NICENESS}\n"), within_s=20)
    examining.cancel()
    await asyncio.wait([examining])


async def test_slow_child_is_killed_with_its_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fork = f"import os; os.fork() or open({str(tmp_path / 'grandchild')!r}, 'w').write(str(os.getpid()))\n{HANGS}"
    as_child(monkeypatch, tmp_path, fork)
    examiner = ImageExaminer(replace(LIMITS, wall_seconds=1.5))
    error = await refusal(examiner.examine(stored(tmp_path, b"x")))
    assert (error.code, error.text[:28]) == ("invalid_body", "this image cannot be decoded")
    grandchild = int((tmp_path / "grandchild").read_text())
    assert await is_gone(grandchild)
    assert children() == set()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def is_gone(pid: int) -> bool:
    """Whether the process ends, at most as a zombie that its new parent has not collected."""
    for _ in range(200):
        try:
            if state_of(pid) == "Z":
                return True
        except FileNotFoundError:
            return True
        await asyncio.sleep(0.02)
    return False


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.05, 0.5])
def test_cancelled_call_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loop: str, delay: float
) -> None:
    as_child(monkeypatch, tmp_path, HANGS)
    path = stored(tmp_path, b"x")
    examiner = ImageExaminer(LIMITS)

    async def cancelled() -> None:
        task = asyncio.ensure_future(examiner.examine(path))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == set()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(cancelled())
    assert not (tmp_path / "upload.stripped").exists()


async def test_images_wait_for_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    as_child(monkeypatch, tmp_path, HANGS)
    examiner = ImageExaminer(replace(LIMITS, at_most=1, wait_seconds=0.2))
    first = asyncio.ensure_future(examiner.examine(stored(tmp_path, b"x")))
    await asyncio.sleep(0)
    other = tmp_path / "other"
    other.write_bytes(b"x")
    error = await refusal(examiner.examine(other))
    assert (error.code, error.retry_after_ms) == ("unavailable", 1000)
    assert len(children()) <= 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    monkeypatch.undo()
    other.write_bytes(picture("PNG"))
    assert (await examiner.examine(other)).width == 40


async def test_machine_without_room_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = stored(tmp_path, picture("PNG"))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = len(os.listdir("/proc/self/fd"))
    # Enough for no file, for one, for both, and for some of the pipes of a process.
    for free in range(5):
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken + free, most))
        try:
            error = await refusal(ImageExaminer(LIMITS).examine(path))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert error.code == "unavailable"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))
    assert (await refusal(ImageExaminer(LIMITS).examine(path))).code == "unavailable"


async def test_full_disk_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = f"""
import sys
sys.path[:0] = {images._environment()["PYTHONPATH"].split(os.pathsep)!r}
from services.gateway.media import image_child

def full(source, target, content_type):
    with open("/dev/full", "wb", buffering=0) as device:
        device.write(b"x")

limited = image_child._be_limited
image_child._be_limited = lambda *limits: None
image_child.TARGET_FD = int(sys.argv[5])
image_child.metadata.strip = full
image_child.main(*map(int, sys.argv[1:]))
"""
    as_child(monkeypatch, tmp_path, source)
    error = await refusal(ImageExaminer(LIMITS).examine(stored(tmp_path, picture("PNG"))))
    assert (error.code, "no space" in error.text) == ("unavailable", True)


async def test_child_without_a_parent_ends_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = f"""
import sys, time
sys.path[:0] = {images._environment()["PYTHONPATH"].split(os.pathsep)!r}
from services.gateway.media import image_child
image_child.examined = lambda source, target: time.sleep(600)
image_child.main(*map(int, [*sys.argv[1:4], "1", sys.argv[5]]))
"""
    as_child(monkeypatch, tmp_path, source)
    loop_time = asyncio.get_running_loop().time
    begun = loop_time()
    error = await refusal(ImageExaminer(LIMITS).examine(stored(tmp_path, b"x")))
    assert "cannot be decoded" in error.text
    assert loop_time() - begun < 50  # not the limit of 60 s


def write_noise(path: Path, side: int) -> None:
    """A PNG of noise, which no compression makes smaller, written line by line."""
    packer = zlib.compressobj(0)
    with path.open("wb") as file:
        file.write(png(side, side)[:-12])
        for _ in range(side):
            file.write(png_chunk(b"IDAT", packer.compress(b"\0" + os.urandom(3 * side))))
        file.write(png_chunk(b"IDAT", packer.flush()) + png_chunk(b"IEND", b""))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_gateway_does_not_grow_with_an_image(tmp_path: Path) -> None:
    examiner = ImageExaminer(LIMITS)
    await examiner.examine(stored(tmp_path, picture("PNG")))
    path = tmp_path / "upload"
    write_noise(path, 2640)
    assert path.stat().st_size > 20 * 1024 * 1024 - 100_000
    before = most = resident_bytes()
    examining = asyncio.ensure_future(examiner.examine(path))
    while not examining.done():
        await asyncio.wait([examining], timeout=0.01)
        most = max(most, resident_bytes())
    assert examining.result().width == 2640
    assert most - before <= 8 * 1024 * 1024
