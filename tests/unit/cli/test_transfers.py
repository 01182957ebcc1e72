"""Uploads of the command line name the option that would have worked."""

from pathlib import Path

import httpx2
import pytest

from cli.patience import GaveUp
from cli.transfers import upload_image
from services.gateway.media.content_types import content_type_of
from tidings.errors import Refused
from tidings_client.media import MediaCalls
from tidings_client.rest import Rest
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens


async def test_a_file_that_is_no_image_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        content_type_of(b"hi", "image/*")
    path = tmp_path / "fake.png"
    path.write_bytes(b"hi")
    answer = httpx2.Response(400, json={"code": refused.value.code, "detail": refused.value.text})
    rest = Rest("http://gateway", Tokens("t", ServerTime()), transport=httpx2.MockTransport(lambda _: answer))
    with pytest.raises(GaveUp, match=r"fake\.png is not an image .*--file"):
        await upload_image(MediaCalls(rest, lambda: "id"), path)
    await rest.close()
