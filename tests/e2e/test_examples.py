"""The SDK's examples as a reader would run them: in processes, with a token from the command line."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from deploy.local.process import ROOT
from deploy.local.stack import Stack
from tests.waiting import PATIENCE_S
from tidings_client import Client, development_tokens

EXAMPLES = ROOT / "sdk" / "python" / "examples"
ASK_AGAIN_S = 2.0
STEPS = ["acked", "delivered", "read"]


async def test_examples_send_to_the_echo_user_and_show_its_answer(stack: Stack) -> None:
    user = f"example-{uuid.uuid4().hex[:8]}"
    async with _example(stack, "tail.py", user) as tail:
        async with _example(stack, "send_and_wait.py", user, "echo", "anybody there?") as sending:
            assert [(await _line(sending))[-1] for _ in STEPS] == STEPS
            assert await asyncio.wait_for(sending.wait(), PATIENCE_S) == 0
        shown = [await _line(tail), await _line(tail)]
    assert [(seq, sender) for _, seq, sender, *_ in shown] == [("1", user), ("2", "echo")]
    assert [words[3:] for words in shown] == [["anybody", "there?"]] * 2


async def test_custom_bot_answers(stack: Stack) -> None:
    user, bot = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("example", "bot"))
    async with _example(stack, "echo_bot.py", bot), _example(stack, "tail.py", user) as tail:
        await _until_it_reads(stack, user, bot)
        async with _example(stack, "send_and_wait.py", user, bot, "hello") as sending:
            assert [(await _line(sending))[-1] for _ in STEPS] == STEPS
        while (await _line(tail))[2:] != [bot, "hello"]:
            pass


async def _until_it_reads(stack: Stack, user: str, bot: str) -> None:
    """The bot answers what comes after it has connected, and does not say when that is."""
    async with Client(stack.url(), development_tokens(stack.url(), user)) as client, asyncio.timeout(PATIENCE_S):
        while True:
            question = await client.send("are you there?", to=bot)
            with suppress(TimeoutError):
                await asyncio.wait_for(question.read(), ASK_AGAIN_S)
                return


@asynccontextmanager
async def _example(stack: Stack, name: str, user: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    token = await development_tokens(stack.url(), user)()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", str(EXAMPLES / name), stack.url(), token, *arguments), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _line(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode().split()
