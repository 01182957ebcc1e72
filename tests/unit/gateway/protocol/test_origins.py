"""Lists of origins and hosts: what matches, what stops the start, and with which text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.gateway.protocol.bodies import BodyRules, checked_post
from services.gateway.protocol.origins import AllowedOrigins, normal_host, parsed_hosts, parsed_origins
from services.gateway.settings import HttpSettings
from tidings.errors import ConfigurationError, Refused

SETTING = "TIDINGS_ALLOWED_ORIGINS"


@pytest.mark.field_case("32")
@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        ("*", "https://any.example"),
        ("*", "null"),
        ("https://a.example, *", "https://b.example"),
        ("https://app.example.com/", "https://app.example.com"),
        ("https://A.example.com:443", "https://a.example.com"),
        ("HTTPS://A.Example.COM", "https://a.example.com"),
        ("http://a.example:80/", "http://a.example"),
        ("http://a.example:080", "http://a.example"),
        ("https://a.example:80", "https://a.example:80"),
        ("https://a.example:", "https://a.example"),
        (" https://a.example\t,\n https://b.example ,", "https://b.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
        ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://my_app.example", "https://my_app.example"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
    ],
)
def test_listed_origin_matches_as_browsers_send_it(listed: str, origin: str) -> None:
    assert parsed_origins(listed, SETTING).allows([origin], ["gateway.example"])
    assert HttpSettings(allowed_origins=listed).origins().allows([origin], ["gateway.example"])


@pytest.mark.field_case("32")
@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("app.example.com", "https://app.example.com"),
        ("localhost:3000", "https://localhost:3000"),
        ("https://ok.example,app.example.com", "'app.example.com' never matches"),
        ("https://app.example.com/chat", "nothing more"),
        ("https://app.example.com?x", "nothing more"),
        ("https://app.example.com#x", "nothing more"),
        ("https://user@app.example.com", "nothing more"),
        ("https://*.example.com", "wildcards"),
        ("https://a.example https://b.example", "nothing more"),
        ("'https://a.example'", "no browser sends the scheme"),
        ('["https://a.example"]', "no browser sends the scheme"),
        ("https://a.example:0", "nothing more"),
        ("https://a.example:65536", "nothing more"),
        ("https://a.example:x", "nothing more"),
        ("https://", "nothing more"),
        ("https:///", "nothing more"),
        ("https://a..example", "nothing more"),
        ("https://-a.example", "nothing more"),
        ("https://::1", "nothing more"),
        ("https://[::1", "nothing more"),
        ("https://[a.example]", "nothing more"),
        ("https://[fe80::1%25eth0]", "nothing more"),
        ("https://1.2.3", "nothing more"),
        ("https://1.2.3.256", "nothing more"),
        ("https://a\\b.example", "nothing more"),
        ("https://bücher.example", "punycode"),
        ("null", "sandboxed"),
        ("wss://app.example.com", "https://app.example.com"),
        ("ws://app.example.com", "http://app.example.com"),
        ("file://", "no browser sends the scheme file"),
        ("htps://app.example.com", "no browser sends the scheme htps"),
    ],
)
def test_origin_that_never_matches_stops_the_start(listed: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as stopped:
        parsed_origins(listed, SETTING)
    assert says in str(stopped.value)
    with pytest.raises(ValidationError, match=SETTING):
        HttpSettings(allowed_origins=listed)


@pytest.mark.field_case("32")
@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("https://chat.example", "chat.example", True),
        ("https://chat.example", "chat.example:443", True),
        ("https://chat.example", "Chat.Example", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("https://chat.example", "chat.example:80", False),
        ("http://localhost:3000", "localhost:8080", False),
        ("https://evil.example", "chat.example", False),
        ("https://chat.example.evil.example", "chat.example", False),
        ("https://chat.example/", "chat.example", False),
        ("https://x@chat.example", "chat.example", False),
        ("null", "null", False),
        ("null", "", False),
        ("https://", "", False),
        ("", "", False),
        ("file://", "", False),
        ("chrome-extension://chat.example", "chat.example", False),
    ],
)
def test_own_host_is_allowed_in(origin: str, host: str, is_own: bool) -> None:
    assert AllowedOrigins().allows([origin], [host]) == is_own


def test_request_without_an_origin_is_allowed() -> None:
    assert AllowedOrigins().allows([], ["chat.example"])


def test_request_with_two_origins_or_hosts_is_refused() -> None:
    allowed = parsed_origins("https://a.example", SETTING)
    assert not allowed.allows(["https://a.example", "https://a.example"], ["a.example"])
    assert not AllowedOrigins().allows(["https://a.example"], ["a.example", "a.example"])


@given(st.text() | st.from_regex(r"https?://[a-z.:\[\]0-9@/]{0,20}", fullmatch=True))
@example("https://a.example:443/")
def test_listed_entry_matches_itself_or_stops_the_start(entry: str) -> None:
    try:
        allowed = parsed_origins(entry, SETTING)
    except ConfigurationError:
        return
    for origin in allowed.listed - {"*"}:
        assert parsed_origins(origin, SETTING).listed == {origin}
        assert allowed.allows([origin], [])


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("Media.Example, cdn.example,", "https://media.example/x"),
        ("media.example", "https://MEDIA.example:8443/x"),
        ("::1", "http://[0:0::1]/x"),
        ("[::1]", "http://[::1]:9000/x"),
        ("127.0.0.1", "http://127.0.0.1:9000/x"),
    ],
)
def test_media_host_matches_urls_of_it(listed: str, url: str) -> None:
    body = {"name": "n", "url": url, "size": 1, "content_type": "text/plain"}
    rules = BodyRules(parsed_hosts(listed, "TIDINGS_MEDIA_HOSTS"))
    assert url.encode() in checked_post("file", body, None, None, rules).body
    with pytest.raises(Refused, match="TIDINGS_MEDIA_HOSTS"):
        checked_post("file", body, None, None, BodyRules(frozenset({"other.example"})))


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ("https://media.example", "path: media.example"),
        ("media.example:8443", "path: media.example"),
        ("media.example/x", "without scheme, port and path"),
        ("*.media.example", "list each host"),
        ("*", "list each host"),
        ("bücher.example", "punycode"),
        ("a b", "without scheme"),
        ("1.2.3", "without scheme"),
    ],
)
def test_host_that_never_matches_stops_the_start(listed: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"TIDINGS_MEDIA_HOSTS.*{says}"):
        parsed_hosts(listed, "TIDINGS_MEDIA_HOSTS")
    with pytest.raises(ValidationError, match="TIDINGS_MEDIA_HOSTS"):
        HttpSettings(media_hosts=listed)


@given(st.text(max_size=20))
def test_normal_host_of_a_normal_host_is_itself(text: str) -> None:
    host = normal_host(text)
    if host is not None:
        assert host.isascii()
        assert normal_host(host) == host
