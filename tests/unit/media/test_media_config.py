"""Settings of the object store: what is refused, and that the environment of obstore never goes before them."""

from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from tidings.errors import ConfigurationError
from tidings.media.backends import backend_of
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.runtime.reading_settings import read_group
from tidings.runtime.settings import MediaStoreSettings, printable

KEYS = {"S3_ACCESS_KEY_ID": "id", "S3_SECRET_ACCESS_KEY": "the-secret"}


def config(monkeypatch: pytest.MonkeyPatch, **variables: str) -> MediaStoreConfig:
    for name, value in variables.items():
        monkeypatch.setenv(f"TIDINGS_MEDIA_{name}", value)
    return MediaStoreConfig.of(read_group(MediaStoreSettings))


def test_default_is_a_local_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config(monkeypatch) == MediaStoreConfig(folder=".run/media")


@pytest.mark.parametrize(
    ("url", "folder", "bucket", "prefix"),
    [
        ("file:/srv/media", "/srv/media", "", ""),
        ("file:///srv/media", "/srv/media", "", ""),
        ("file:media", "media", "", ""),
        ("s3://bucket", "", "bucket", ""),
        ("s3://bucket/", "", "bucket", ""),
        ("s3://bucket.of-us/a/b/", "", "bucket.of-us", "a/b"),
    ],
)
def test_store_url_is_read(url: str, folder: str, bucket: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = config(monkeypatch, STORE_URL=url)
    assert (found.folder, found.bucket, found.prefix) == (folder, bucket, prefix)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("STORE_URL", "", "neither file:"),
        ("STORE_URL", "media", "neither file:"),
        ("STORE_URL", "file:", "neither file:"),
        ("STORE_URL", "file://host/media", "neither file:"),
        ("STORE_URL", "https://bucket", "neither file:"),
        ("STORE_URL", "s3://", "neither file:"),
        ("STORE_URL", "s3://BUCKET", "neither file:"),
        ("STORE_URL", "s3://bucket/a?b", "neither file:"),
        ("S3_ENDPOINT", "s3.example.com", "not a URL"),
        ("S3_ENDPOINT", "https://user@s3.example.com", "not a URL"),
        ("S3_ENDPOINT", "http://s3.example.com", "S3_ALLOW_HTTP"),
        ("S3_REGION", "eu west", "pattern"),
        ("REQUEST_TIMEOUT_S", "0", "greater than 0"),
        ("RETRIES", "11", "less than or equal to 10"),
    ],
)
def test_setting_that_does_not_fit_is_named(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=f"TIDINGS_MEDIA_{variable}.*{says}"):
        config(monkeypatch, **{variable: value})


def test_endpoint_without_tls_has_to_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = config(monkeypatch, STORE_URL="s3://bucket", S3_ENDPOINT="http://127.0.0.1:9000", S3_ALLOW_HTTP="true")
    assert (found.endpoint, found.allow_http) == ("http://127.0.0.1:9000", True)


def test_keys_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "id").write_text("id\n")
    (tmp_path / "secret").write_text("the-secret\n")
    files = {f"{name}_FILE": str(tmp_path / file) for name, file in zip(KEYS, ("id", "secret"), strict=True)}
    found = config(monkeypatch, STORE_URL="s3://bucket", **files)
    assert (found.access_key_id, found.secret_access_key) == ("id", "the-secret")
    assert "the-secret" not in repr(found)


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"S3_ACCESS_KEY_ID": "id"}, "S3_SECRET_ACCESS_KEY is not"),
        ({"S3_SECRET_ACCESS_KEY": "the-secret"}, "S3_ACCESS_KEY_ID is not"),
        (KEYS | {"S3_ACCESS_KEY_ID_FILE": "id"}, "S3_ACCESS_KEY_ID and .*_FILE are both set"),
        ({"S3_SECRET_ACCESS_KEY_FILE": "no-such-file"}, "S3_SECRET_ACCESS_KEY_FILE='no-such-file'.*No such file"),
        ({"S3_SECRET_ACCESS_KEY_FILE": "/dev/null"}, "the file is empty"),
    ],
)
def test_keys_that_do_not_fit_are_named(variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        config(monkeypatch, STORE_URL="s3://bucket", **variables)
    assert "the-secret" not in str(refused.value)


def test_session_token_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-another-key")
    with pytest.raises(ConfigurationError, match="AWS_SESSION_TOKEN"):
        config(monkeypatch, STORE_URL="s3://bucket", **KEYS)


def test_secret_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    config(monkeypatch, STORE_URL="s3://bucket", **KEYS)
    assert "TIDINGS_MEDIA_S3_SECRET_ACCESS_KEY=***" in printable({"media_store": MediaStoreSettings()})


def test_endpoint_goes_before_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(variable, "https://elsewhere.example")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    backend = backend_of(config(monkeypatch, STORE_URL="s3://bucket", S3_ENDPOINT="https://127.0.0.1:1", **KEYS))
    store = backend.store
    assert isinstance(store, S3Store)
    signed = obstore.sign(store, "GET", "a", timedelta(seconds=60))
    assert signed.startswith("https://127.0.0.1:1/bucket/a?")
    options = store.client_options
    assert options is not None
    assert str(options["allow_http"]).lower() == "false"
    assert str(store.config["skip_signature"]).lower() == "false"


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match="TIDINGS_MEDIA_STORE_URL"):
        ObstoreMediaStore(MediaStoreConfig(folder=str(tmp_path / "file" / "media")))
