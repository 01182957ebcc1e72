"""Uploads as users make them: a photo, the call, and a message with it."""

import io
import random
import uuid

import httpx2
from PIL import Image

from tests.sockets import Frame

# Bytes that no two uploads share.
CHANCE = random.Random(14)


def photo() -> bytes:
    """A JPEG that a phone took upright: 40 x 20 pixels in the file, with a place."""
    target = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "at home, 52.5 N 13.4 E"
    Image.new("RGB", (40, 20), (CHANCE.randrange(256), 8, 8)).save(target, "JPEG", exif=exif)
    return target.getvalue()


async def upload(http: httpx2.AsyncClient, content: bytes, **headers: str) -> Frame:
    """The 201's body."""
    response = await http.post("/v1/media", content=content, headers=headers)
    assert response.status_code == 201, response.text
    uploaded: Frame = response.json()
    return uploaded


def message(to: dict[str, str], uploaded: Frame, kind: str = "file") -> Frame:
    """A message with an upload."""
    return {"client_msg_id": uuid.uuid4().hex, "kind": kind, "body": {"url": uploaded["url"]}, **to}


def media_id_of(uploaded: Frame) -> str:
    """The id in its url."""
    return str(uploaded["url"]).rpartition("/")[2]
