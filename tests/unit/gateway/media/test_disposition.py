"""File names in headers: exact for new clients, harmless for old ones, and no header of their own."""

import re
from email.message import Message
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.gateway.media.disposition import attachment, file_name
from services.gateway.protocol.bodies import BodyRules, checked_post
from tidings.errors import Refused

NAMES = [
    "report.pdf",
    "照片 2026.png",
    "🎉 party 🎉.gif",
    'a "b".txt',
    "100%.txt",
    "50%20off.txt",
    "naïve.txt",
    "a'b;c,d.txt",
]
TOKEN = r"[!#$&+\-.^_`|~0-9A-Za-z]"


def parsed(header: str) -> str:
    """The name as the standard library's parser of MIME reads it, which follows RFC 2231 and prefers `filename*`."""
    message = Message()
    message["Content-Disposition"] = header
    name = message.get_filename()
    assert name is not None
    return name


def fallback_of(header: str) -> str:
    match = re.match(r'attachment; filename="([^"]*)"', header)
    assert match is not None
    return match[1]


def starred_of(header: str) -> str | None:
    match = re.search(rf"; filename\*=UTF-8''((?:{TOKEN}|%[0-9A-F]{{2}})+)$", header)
    return unquote(match[1]) if match else None


@pytest.mark.parametrize("name", NAMES)
def test_attachment_gives_the_exact_name(name: str) -> None:
    header = attachment(name)
    assert (starred_of(header) or fallback_of(header)) == name


@pytest.mark.parametrize("name", NAMES)
def test_attachment_is_read_by_a_mime_parser(name: str) -> None:
    if starred_of(attachment(name)) is None:
        assert parsed(attachment(name)) == name
    else:
        only_starred = attachment(name).replace(f' filename="{fallback_of(attachment(name))}";', "")
        assert parsed(only_starred) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("report.pdf", 'attachment; filename="report.pdf"'),
        ("照.png", "attachment; filename=\"_.png\"; filename*=UTF-8''%E7%85%A7.png"),
        ("🎉.gif", "attachment; filename=\"_.gif\"; filename*=UTF-8''%F0%9F%8E%89.gif"),
        ('a"b\\c%41.txt', "attachment; filename=\"a_b_c_41.txt\"; filename*=UTF-8''a%22b%5Cc%2541.txt"),
        ("a\r\nX: y", "attachment; filename=\"a__X_ y\"; filename*=UTF-8''a%0D%0AX%3A%20y"),
        ("", "attachment; filename=\"file\"; filename*=UTF-8''file"),
        ("\ud800.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%3F.txt"),
    ],
)
def test_attachment_of_a_name(name: str, expected: str) -> None:
    assert attachment(name) == expected


@given(st.text() | st.text('a"\\%\r\n\0;*=') | st.text(st.characters(categories=["Cs", "Cc", "Cf"])))
def test_attachment_of_any_text_is_one_safe_header(name: str) -> None:
    header = attachment(name)
    assert re.fullmatch(rf"attachment; filename=\"[ -~]+\"(; filename\*=UTF-8''({TOKEN}|%[0-9A-F]{{2}})+)?", header)
    assert header.count('"') == 2
    assert not set("\\%/:*?<>|") & set(fallback_of(header))
    if name and not re.search("[\ud800-\udfff]", name):
        assert (starred_of(header) or fallback_of(header)) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"report.pdf", "report.pdf"),
        (b"%E7%85%A7%20.png", "照 .png"),
        (b"UTF-8''%E7%85%A7.png", "照.png"),
        (b"utf-8'de'a.png", "a.png"),
        ("照.png".encode(), "照.png"),
        (b"100%25.txt", "100%.txt"),
        (b" a b.txt\t", "a b.txt"),
        (b"a+b.txt", "a+b.txt"),
        (b"%2520", "%20"),
    ],
)
def test_file_name_is_read(value: bytes, name: str) -> None:
    assert file_name(value) == name


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b" ",
            b"%20",
            b".",
            b"..",
            b" .. ",
            b"%2E%2E",
            b"../a",
            b"a%2Fb",
            b"a%5Cb",
            b"..\\a",
            b"C:\\a",
            b"/etc/passwd",
        ),
        *(b"a%00b", b"a%0D%0AX:%20y", b"a\tb", b"%E2%80%AEgpj.exe", b"%C2%80", b"%7F"),
        *(b"na\xefve.txt", b"%FF", b"%C0%AF", b"%ED%A0%80", b"100%.txt", b"%", b"%4", b"%zz"),
        *(b"a" * 256, b"%E7%85%A7" * 256, b"UTF-8''"),
    ],
)
def test_invalid_file_name_is_refused(value: bytes) -> None:
    with pytest.raises(Refused, match="X-File-Name") as caught:
        file_name(value)
    assert caught.value.code == "invalid_body"


def is_name_of_a_message(name: str) -> bool:
    body = {"name": name, "url": "https://a.example/x", "size": 1, "content_type": "text/plain"}
    try:
        checked_post("file", body, None, None, BodyRules(frozenset({"a.example"})))
    except Refused:
        return False
    return True


@given(st.text(max_size=300) | st.text("a./\\%\0", max_size=5))
@example(" a.txt ")
def test_file_name_follows_the_rule_of_messages(name: str) -> None:
    encoded = quote(name.encode(errors="surrogatepass"), safe="").encode()
    if is_name_of_a_message(name):
        assert file_name(encoded) == name
    else:
        with pytest.raises(Refused):
            file_name(encoded)


@given(st.binary())
def test_any_header_is_a_name_or_refused(value: bytes) -> None:
    try:
        name = file_name(value)
    except Refused:
        return
    assert is_name_of_a_message(name)
    assert attachment(name).isprintable()
