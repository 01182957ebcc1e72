"""Lists of allowed origins and hosts, and the check of a request's origin. Pure."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from tidings.errors import ConfigurationError

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# The schemes of web views and extensions. Origin headers never have ws:// or file://.
_APP_SCHEMES = frozenset(
    {"app", "capacitor", "chrome-extension", "ionic", "moz-extension", "safari-web-extension", "tauri"}
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::(\d{0,5}))?")


@dataclass(frozen=True, slots=True)
class AllowedOrigins:
    """The allow list of browsers' origins. REST and WebSocket use the same check."""

    listed: frozenset[str] = frozenset()

    def allows(self, origins: Sequence[str], hosts: Sequence[str]) -> bool:
        """Whether a request with these `Origin` and `Host` headers comes from an allowed page, or from no page.

        A request without an Origin comes from no page. Pages of the gateway's own host are allowed. Schemes are not
        compared, because behind a proxy that ends TLS the gateway sees http and the browser sends https.
        """
        if not origins:
            return True
        if len(origins) > 1:
            return False
        if ANY in self.listed or origins[0] in self.listed:
            return True
        return len(hosts) == 1 and _is_of_host(origins[0], hosts[0])


def parsed_origins(text: str, setting: str) -> AllowedOrigins:
    """The origins of a comma separated list, with case and default ports normalised as in browsers.

    Raises ConfigurationError, which names the setting, for an entry that no browser can send.
    """
    return AllowedOrigins(frozenset(_origin(entry, setting) for entry in _entries(text)))


def parsed_hosts(text: str, setting: str) -> frozenset[str]:
    """The hosts of a comma separated list, without scheme and port, in lower case. Raises ConfigurationError."""
    return frozenset(_listed_host(entry, setting) for entry in _entries(text))


def normal_host(host: str) -> str | None:
    """A host in normal form: lower case, addresses in their shortest form, IPv6 without brackets.

    None for a text that is not a host in ASCII.
    """
    host = host.lower()
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in bare or bare.rpartition(".")[2].isdecimal():
        return _address(bare)
    labels = bare.removesuffix(".").split(".")
    is_name = len(bare) <= 253 and bare == host and all(map(_LABEL.fullmatch, labels))
    return bare if is_name else None


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _entries(text: str) -> Iterator[str]:
    """The entries of a list without empty ones, so that a trailing comma is allowed."""
    return filter(None, map(str.strip, text.split(",")))


def _origin(entry: str, setting: str) -> str:
    if entry == ANY:
        return ANY
    if not entry.isascii():
        raise _wrong(entry, setting, "browsers send hosts in punycode: write the host as xn--…")
    if "*" in entry:
        raise _wrong(entry, setting, "there are no wildcards inside: list each origin, or * alone for all")
    if entry.lower() == "null":
        raise _wrong(entry, setting, "every sandboxed page sends null: serve the page from an origin of its own")
    scheme, separator, rest = entry.partition("://")
    scheme = scheme.lower()
    if not separator:
        raise _wrong(entry, setting, f"the scheme is missing: https://{entry}")
    if scheme in ("ws", "wss"):
        raise _wrong(entry, setting, f"a browser sends the scheme of its page: {scheme.replace('ws', 'http')}://{rest}")
    if scheme not in _DEFAULT_PORTS and scheme not in _APP_SCHEMES:
        raise _wrong(entry, setting, f"no browser sends the scheme {scheme}")
    authority = _authority(rest.removesuffix("/"), scheme)
    if authority is None:
        raise _wrong(entry, setting, "an origin is scheme://host or scheme://host:port and nothing more")
    return f"{scheme}://{authority}"


def _authority(text: str, scheme: str) -> str | None:
    """host or host:port as browsers write it, without the default port; None for anything else."""
    match = _HOST_AND_PORT.fullmatch(text)
    host = match and normal_host(match[1])
    if match is None or host is None or (":" in host) != match[1].startswith("["):
        return None
    port = int(match[2] or 0)
    if match[2] and not 1 <= port <= 65_535:
        return None
    shown = f"[{host}]" if ":" in host else host
    return shown if port in (0, _DEFAULT_PORTS.get(scheme)) else f"{shown}:{port}"


def _listed_host(entry: str, setting: str) -> str:
    if not entry.isascii():
        raise _wrong(entry, setting, "write the host in punycode: xn--…")
    if "*" in entry:
        raise _wrong(entry, setting, "there are no wildcards: list each host")
    host = normal_host(entry)
    if host is None:
        named = urlsplit(f"//{entry.partition('://')[2] or entry}").netloc.partition(":")[0]
        raise _wrong(entry, setting, f"a host stands without scheme, port and path: {named or 'media.example.com'}")
    return host


def _wrong(entry: str, setting: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"{setting}: {entry!r} never matches; {text}")


def _is_of_host(origin: str, host: str) -> bool:
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False
    authority = _authority(rest, scheme)
    return authority is not None and authority == _authority(host, scheme)
