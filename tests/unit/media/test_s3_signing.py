"""Signed URLs with headers: the same signature as that of botocore, which AWS keeps."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import obstore
import pytest
from obstore.store import S3Store

from tidings.media.s3_signing import with_headers

if TYPE_CHECKING:
    from obstore.store import S3Config

NAME = "attachment; filename=\"a b.pdf\"; filename*=UTF-8''%E5%9B%BE%F0%9F%98%80.pdf"
TYPE = "text/plain; charset=utf-8"
ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def url_of(endpoint: str = "", session_token: str = "") -> str:
    config: S3Config = {"region": "eu-west-1", "access_key_id": ID, "secret_access_key": SECRET}
    if endpoint:
        config["endpoint"] = endpoint
    if session_token:
        config["session_token"] = session_token
    return obstore.sign(S3Store("bucket", config=config), "GET", "media/d:a=b.c_d-e", timedelta(seconds=60))


def signature_of_botocore(url: str) -> str:
    """The signature of the same URL, at the same moment."""
    signer = botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(ID, SECRET), "s3", "eu-west-1", 60)
    prepared = botocore.awsrequest.AWSRequest("GET", url.replace(f"&X-Amz-Signature={_signature(url)}", ""))
    prepared.context["timestamp"] = parse_qs(urlsplit(url).query)["X-Amz-Date"][0]
    prepared.headers["host"] = urlsplit(url).netloc
    text = signer.string_to_sign(prepared, signer.canonical_request(prepared))
    return str(signer.signature(text, prepared))


def _signature(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]


@pytest.mark.parametrize("options", [{}, {"endpoint": "http://127.0.0.1:9000"}, {"session_token": "a+b/c=="}])
def test_signature_is_that_of_botocore(options: dict[str, str]) -> None:
    signed = with_headers(url_of(**options), SECRET, NAME, TYPE)
    assert signed is not None
    assert _signature(signed) == signature_of_botocore(signed)
    query = parse_qs(urlsplit(signed).query)
    assert query["response-content-disposition"] == [NAME]
    assert query["response-content-type"] == [TYPE]
    assert query["response-cache-control"] == ["private, no-store"]
    assert query["X-Amz-Expires"] == ["60"]


def test_another_secret_signs_nothing() -> None:
    assert with_headers(url_of(), "another", NAME, TYPE) is None
