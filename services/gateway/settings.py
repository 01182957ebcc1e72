"""All settings of the gateway, read once."""

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.gateway.media.build import MediaRules
from services.gateway.media.uploads import UploadRules
from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.origins import AllowedOrigins, parsed_hosts, parsed_origins
from services.gateway.protocol.send_queue import SendQueueLimits
from services.gateway.reads.block_lists import BlockRules
from services.gateway.submit.build import SubmitRules
from services.gateway.tokens import MIN_SECRET_BYTES, VerifyingKey, public_keys, secret_key
from tidings.errors import ConfigurationError
from tidings.runtime.settings import (
    CassandraSettings,
    ColdSettings,
    LimitSettings,
    MediaStoreSettings,
    ServiceSettings,
)
from tidings.runtime.stamps import stamps_of

_ORIGINS = "TIDINGS_ALLOWED_ORIGINS"
_HOSTS = "TIDINGS_MEDIA_HOSTS"


class HttpSettings(BaseSettings):
    """The public port and what it allows. TIDINGS_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_", frozen=True)

    http_host: str = Field("127.0.0.1", description="where clients connect")
    http_port: int = Field(8080, ge=0, le=65535, description="their port; 0 picks a free one")
    idle_s: int = Field(
        75,
        ge=1,
        le=3600,
        description="how long a connection without a request stays open; above the proxies' time-outs (60 s)",
    )
    allowed_origins: str = Field(
        "", description="origins of pages that may call, comma separated, as https://app.example.com; * for all"
    )
    media_hosts: str = Field(
        "", description="hosts that URLs in messages may name, comma separated, without scheme and port"
    )
    heartbeat_s: int = Field(20, ge=1, le=300, description="interval of heartbeats to clients")
    messages_per_s: int = Field(100, ge=1, description="messages per user and second in the long run")
    burst: int = Field(1_000, ge=1, description="messages of a user at once")
    blocks_max: int = Field(1_000, ge=1, le=5_000, description="users that one user may block")
    block_changes_per_s: int = Field(1, ge=1, description="changes of a block list per second in the long run")
    block_burst: int = Field(100, ge=1, description="changes of a user's block list at once")
    max_connections: int = Field(20_000, ge=1, description="WebSockets of one gateway; more are refused with 503")
    outbox_deliveries: int = Field(2_000, ge=1, description="unacknowledged deliveries of one connection")
    outbox_bytes: int = Field(2 * 1024 * 1024, ge=262_144, description="bytes kept for one connection")
    resumes_at_once: int = Field(32, ge=1, description="inbox pages read at a time; the others wait")
    history_cache_bytes: int = Field(64 * 1024 * 1024, ge=0, description="memory for messages that were read")
    waiting_calls: int = Field(5_000, ge=1, description="REST messages waiting for their ack; more are refused")
    drain_s: float = Field(
        5.0, ge=0, le=3600, description="from SIGTERM to the close of the last connection; closes are spread over it"
    )

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, text: str) -> str:
        _checked(parsed_origins, text, _ORIGINS)
        return text

    @field_validator("media_hosts")
    @classmethod
    def _check_hosts(cls, text: str) -> str:
        _checked(parsed_hosts, text, _HOSTS)
        return text

    def origins(self) -> AllowedOrigins:
        """The allow list of browsers' origins."""
        return parsed_origins(self.allowed_origins, _ORIGINS)

    def body_rules(self) -> BodyRules:
        """The settings of protocol/bodies.py."""
        return BodyRules(parsed_hosts(self.media_hosts, _HOSTS))

    def block_rules(self) -> BlockRules:
        """The settings of reads/block_lists.py."""
        return BlockRules(self.blocks_max, self.block_changes_per_s, self.block_burst)

    def send_queue_limits(self) -> SendQueueLimits:
        """The settings of send_queue.py."""
        return SendQueueLimits(self.outbox_deliveries, self.outbox_bytes)

    def connection_rules(
        self, verify: Callable[[str, int], Identity], deployment: Mapping[str, object] | None
    ) -> ConnectionRules:
        """The settings of connection.py."""
        return ConnectionRules(
            verify,
            self.heartbeat_s,
            self.messages_per_s,
            self.burst,
            self.body_rules(),
            self.send_queue_limits(),
            deployment,
        )


class MediaSettings(BaseSettings):
    """What may be uploaded. TIDINGS_MEDIA_*. `tidings/runtime/settings.py` has where it is stored."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_MEDIA_", frozen=True)

    image_bytes: int = Field(20 * 1024 * 1024, ge=1, description="bytes of an uploaded image")
    file_bytes: int = Field(100 * 1024 * 1024, ge=1, description="bytes of any other upload")
    user_bytes_per_day: int = Field(2 * 1024**3, ge=1, description="bytes that a user may upload on a UTC day")
    upload_dir: str = Field(
        "",
        description="folder for images while they are checked; processes may share it, and remove what killed ones"
        " left; empty: one in the system's folder for temporary files",
    )
    images_at_once: int = Field(2, ge=1, le=64, description="processes that decode images; further images wait")
    redirect_s: int = Field(
        0, ge=0, le=3600, description="downloads are presigned URLs of the object store for so long; 0: served here"
    )

    def rules(self, key: bytes, folder: Path, uploads_at_once: int, downloads_at_once: int) -> MediaRules:
        """The settings of media/. `key` derives the ids of uploads. `folder`: of this process alone.

        The other two: as open files allow.
        """
        uploads = UploadRules(
            key=key,
            image_bytes=self.image_bytes,
            file_bytes=self.file_bytes,
            user_bytes_per_day=self.user_bytes_per_day,
            folder=folder,
            at_once=uploads_at_once,
        )
        return MediaRules(uploads, self.redirect_s, self.images_at_once, downloads_at_once)


class TokenSettings(BaseSettings):
    """The keys that may sign tokens. TIDINGS_TOKEN_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_TOKEN_", frozen=True)

    audience: str = Field("tidings", min_length=1, description="the `aud` that tokens must carry")
    secret: str = Field("", repr=False, description="HS256 key of at least 32 bytes; never printed")
    keys_file: str = Field("", description="PEM file with public keys (Ed25519, P-256, RSA)")
    dev_key_file: str = Field(".run/dev-token.key", description="HS256 key of development mode, made if missing")


class GroupIdSettings(BaseSettings):
    """The derivation of group ids. TIDINGS_GROUP_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_GROUP_", frozen=True)

    id_secret: str = Field(
        "",
        repr=False,
        description="at least 32 bytes, the same at every gateway and never changed; group ids are derived from it",
    )


class AdminSettings(BaseSettings):
    """Operator calls of the admin port. TIDINGS_ADMIN_*. `tidings/runtime/settings.py` has where it listens."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_ADMIN_", frozen=True)

    token_file: str = Field(
        "",
        description="file with the tokens of operators, one a line, read at each call; without it no operator calls",
    )


def _checked(parse: Callable[[str, str], object], text: str, setting: str) -> None:
    """Turn a ConfigurationError into a ValueError, which pydantic reports with the others."""
    try:
        parse(text, setting)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


class GatewaySettings(ServiceSettings):
    """All settings of the gateway."""

    http: HttpSettings = Field(default_factory=HttpSettings)
    tokens: TokenSettings = Field(default_factory=TokenSettings)
    groups: GroupIdSettings = Field(default_factory=GroupIdSettings)
    media: MediaSettings = Field(default_factory=MediaSettings)
    media_store: MediaStoreSettings = Field(default_factory=MediaStoreSettings)
    cold: ColdSettings = Field(default_factory=ColdSettings)
    admin: AdminSettings = Field(default_factory=AdminSettings)
    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)

    def submit_rules(self) -> SubmitRules:
        """The settings of submit/."""
        http = self.http
        stamps = stamps_of(self.limits)
        return SubmitRules(self.kafka.sizes(), stamps, http.messages_per_s, http.burst, http.waiting_calls)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys that verify tokens, and in development mode the key that signs them."""

    verifying: Sequence[VerifyingKey]
    signing: bytes | None


def read_keys(tokens: TokenSettings, development: bool) -> Keys:
    """The keys of the deployment. Outside development mode, raises ConfigurationError without a strong secret or public
    keys."""
    verifying: list[VerifyingKey] = []
    if tokens.secret:
        with _naming("TIDINGS_TOKEN_SECRET"):
            verifying.append(secret_key(tokens.secret))
    if tokens.keys_file:
        with _naming(f"TIDINGS_TOKEN_KEYS_FILE={tokens.keys_file!r}"):
            verifying.extend(public_keys(_text_of(Path(tokens.keys_file))))
    if not development:
        if not verifying:
            raise ConfigurationError("set TIDINGS_TOKEN_SECRET or TIDINGS_TOKEN_KEYS_FILE, or TIDINGS_DEVELOPMENT=true")
        return Keys(verifying, None)
    with _naming(f"TIDINGS_TOKEN_DEV_KEY_FILE={tokens.dev_key_file!r}"):
        development_key = secret_key(_development_secret(Path(tokens.dev_key_file)))
    return Keys([*verifying, development_key], development_key.key)


def read_group_key(groups: GroupIdSettings, tokens: TokenSettings, development: bool) -> bytes:
    """The key of group ids, 32 bytes. Without one, development mode derives it from the token key.

    Raises ConfigurationError for a weak secret, and outside development mode for a missing one.
    """
    secret = groups.id_secret
    if not secret and development:
        with _naming(f"TIDINGS_TOKEN_DEV_KEY_FILE={tokens.dev_key_file!r}"):
            secret = _development_secret(Path(tokens.dev_key_file))
    if len(secret.encode()) < MIN_SECRET_BYTES or len(set(secret)) < 8:
        raise ConfigurationError(
            f"set TIDINGS_GROUP_ID_SECRET to at least {MIN_SECRET_BYTES} random bytes, the same at every gateway"
        )
    return hashlib.blake2b(secret.encode(), digest_size=32, person=b"tidings groups").digest()


@contextlib.contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Add the variable, with its value unless it is secret, to every error: the operator has to change it."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{setting}: {error.strerror or error}") from error


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the file is not text: {error}") from error


def _development_secret(path: Path) -> str:
    """The file's text. The file is created atomically, because several gateways may start at the same time."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
    return _text_of(path)
