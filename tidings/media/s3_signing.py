"""Signed URLs of S3 with headers for the answer. obstore signs URLs, but has no parameter for these headers.

Pure. Described in the S3 API reference, "Authenticating requests: using query parameters (AWS Signature Version 4)".
"""

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

_SIGNATURE = "X-Amz-Signature"
# A copy under a signed URL is outside of the gateway's rights, so that no cache may keep one.
_CACHE_CONTROL = "private, no-store"


def with_headers(url: str, secret_access_key: str, content_disposition: str, content_type: str) -> str | None:
    """A URL that obstore has signed, signed again with these headers of the answer.

    None if the secret is not the one that signed the URL: obstore then has its credentials from elsewhere.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if query.pop(_SIGNATURE) != _signature(parts.netloc, parts.path, query, secret_access_key):
        return None
    query |= {
        "response-cache-control": _CACHE_CONTROL,
        "response-content-disposition": content_disposition,
        "response-content-type": content_type,
    }
    query[_SIGNATURE] = _signature(parts.netloc, parts.path, query, secret_access_key)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, _encoded(query), ""))


def _signature(host: str, path: str, query: dict[str, str], secret_access_key: str) -> str:
    request = "\n".join(("GET", path, _encoded(query), f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"))
    scope = query["X-Amz-Credential"].partition("/")[2]
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", query["X-Amz-Date"], scope, digest))
    key = f"AWS4{secret_access_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def _encoded(query: dict[str, str]) -> str:
    return urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
