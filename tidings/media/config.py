"""How to reach the object store, as plain data."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tidings.errors import ConfigurationError
from tidings.runtime.settings import MediaStoreSettings

_PREFIX = "TIDINGS_MEDIA_"
# obstore reads these itself, also if keys are given to it, and would send the token with the wrong key.
_TOKENS = ("AWS_SESSION_TOKEN", "AWS_TOKEN")


@dataclass(frozen=True, slots=True)
class MediaStoreConfig:
    """How one service reaches one store. The composition root builds it from the settings.

    Either `folder` or `bucket` is set. Empty keys: obstore takes credentials from the `AWS_*` variables, the web
    identity of the pod or the metadata service of the machine.
    """

    folder: str = ""
    bucket: str = ""
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    allow_http: bool = False
    connect_timeout_s: float = 2.0
    request_timeout_s: float = 10.0
    retries: int = 3

    @staticmethod
    def of(settings: MediaStoreSettings) -> "MediaStoreConfig":
        """From the settings of a service. ConfigurationError: a file of a key is unreadable, or keys do not fit."""
        scheme, _, place = settings.store_url.partition(":")
        if scheme == "file":
            return MediaStoreConfig(folder=place.removeprefix("//"))
        bucket, _, prefix = place.removeprefix("//").partition("/")
        access_key_id = _from_file_or_direct(settings, "s3_access_key_id")
        secret_access_key = _from_file_or_direct(settings, "s3_secret_access_key")
        _check_keys(access_key_id, secret_access_key)
        return MediaStoreConfig(
            bucket=bucket,
            prefix=prefix.strip("/"),
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            allow_http=settings.s3_allow_http,
            connect_timeout_s=settings.connect_timeout_s,
            request_timeout_s=settings.request_timeout_s,
            retries=settings.retries,
        )


def _from_file_or_direct(settings: MediaStoreSettings, name: str) -> str:
    direct, path = getattr(settings, name), getattr(settings, f"{name}_file")
    variable = f"{_PREFIX}{name.upper()}"
    if direct and path:
        raise ConfigurationError(f"{variable} and {variable}_FILE are both set; set one of them")
    if not path:
        return str(direct)
    try:
        text = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}_FILE={path!r}: {error}") from error
    if not text:
        raise ConfigurationError(f"{variable}_FILE={path!r}: the file is empty")
    return text


def _check_keys(access_key_id: str, secret_access_key: str) -> None:
    if bool(access_key_id) != bool(secret_access_key):
        given, missing = (
            ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY") if access_key_id else ("SECRET_ACCESS_KEY", "ACCESS_KEY_ID")
        )
        raise ConfigurationError(f"{_PREFIX}S3_{given} is set, and {_PREFIX}S3_{missing} is not; set both or none")
    for token in _TOKENS:
        if access_key_id and os.environ.get(token):
            raise ConfigurationError(f"{token} would be sent with {_PREFIX}S3_ACCESS_KEY_ID; unset it or the keys")
