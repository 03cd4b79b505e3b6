"""PROXY headers in Python: the vectors of the C tests, cut anywhere, and the words of the C header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wawo._portable.proxy import CUT, Address, Parser, Result

CHECKOUT = Path(__file__).resolve().parents[2]
VECTORS = (CHECKOUT / "tests" / "c" / "proto" / "test_proxy.c").read_text(encoding="utf-8")
HEADER = (CHECKOUT / "wawo" / "_core" / "proto" / "proxy.h").read_text(encoding="utf-8")

WORDS = dict(re.findall(r'X\((\w+), "([^"]+)"\)', HEADER))
V2 = b"\r\n\r\n\0\r\nQUIT\n"
_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\", '"': '"'}


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x":
            return chr(int(code[1:], 16))
        return chr(int(code, 8)) if code[0] in "01234567" else _ESCAPES[code]

    return re.sub(r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)", one, text)


def c_bytes(source: str) -> bytes:
    """A literal of C: pieces in quotes, and V2."""
    pieces = re.findall(r'"((?:[^"\\]|\\.)*)"|(V2)', source)
    return b"".join(V2 if name else _unescape(text).encode("latin-1") for text, name in pieces)


def _table(name: str) -> str:
    found = re.search(rf"static const struct {name} {name}\[\] = {{(.*?)^}};", VECTORS, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


_ADDRESS = r'(NULL|"[^"]*")'
GOOD: list[tuple[bytes, Address | None, Address | None]] = [
    (
        c_bytes(literal),
        None if source == "NULL" else (source.strip('"'), int(a, 0)),
        None if destination == "NULL" else (destination.strip('"'), int(b, 0)),
    )
    for literal, source, destination, a, b in re.findall(
        rf"{{BYTES\((.*?)\),\s*{_ADDRESS},\s*{_ADDRESS},\s*(\w+),\s*(\w+)}}", _table("good"), re.DOTALL
    )
]
WRONG = [
    (c_bytes(literal), int(known_at), WORDS[fault])
    for literal, known_at, fault in re.findall(
        r"{BYTES\((.*?)\), (\d+), WAWO_PROXY_BAD_(\w+)}", _table("wrong"), re.DOTALL
    )
] + [
    (line := b"PROXY " + c_bytes(literal) + b"\r\n", len(line), WORDS[fault])
    for literal, fault in re.findall(r"WRONG_LINE\((\".*?\"), (\w+)\)", _table("wrong"))
]


def test_all_vectors_were_found() -> None:
    assert len(GOOD) == _table("good").count("{BYTES(") > 20
    assert len(WRONG) == _table("wrong").count("{BYTES(") + _table("wrong").count("WRONG_LINE(") > 60
    assert GOOD[0] == (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
        ("192.168.0.1", 56324),
        ("192.168.0.11", 443),
    )


@pytest.mark.parametrize(("data", "source", "destination"), GOOD)
@pytest.mark.parametrize("rest", [b"", b"x", b"\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", V2])
def test_good_ones_in_every_two_pieces(
    data: bytes, source: Address | None, destination: Address | None, rest: bytes
) -> None:
    expected = Result(source, destination, rest)
    assert Parser().feed(data + rest) == expected
    for at in range(len(data)):
        parser = Parser()
        assert parser.feed(data[:at]) is None
        assert parser.started == (at > 0)
        assert parser.feed(data[at:] + rest) == expected


def test_good_ones_byte_by_byte() -> None:
    for data, source, destination in GOOD:
        parser = Parser()
        got = [parser.feed(bytes([byte])) for byte in data]
        assert got == [None] * (len(data) - 1) + [Result(source, destination, b"")]


@pytest.mark.parametrize(("data", "known_at", "words"), WRONG)
def test_malformed_ones(data: bytes, known_at: int, words: str) -> None:
    """With their reason, as soon as it is certain."""
    for size in range(len(data) + 1):
        if size < known_at:
            assert Parser().feed(data[:size]) is None
        else:
            with pytest.raises(ValueError, match=f"^{re.escape(f'PROXY header: {words}')}$"):
                Parser().feed(data[:size])


def test_the_longest_line() -> None:
    line = b"PROXY UNKNOWN " + b"x" * 91
    assert len(line) + 2 == 107
    assert Parser().feed(line + b"\r\nrest") == Result(None, None, b"rest")
    assert Parser().feed(line + b"\r") is None
    with pytest.raises(ValueError, match="over 107 bytes"):
        Parser().feed(line + b"xx")
    with pytest.raises(ValueError, match="over 107 bytes"):
        Parser().feed(line + b"x\r\n")


def test_what_is_skipped() -> None:
    unix = V2 + b"\x21\x31\0\xd8/run/source".ljust(4 + 216, b"\0")
    assert Parser().feed(unix[:-1]) is None
    assert Parser().feed(unix) == Result(None, None, b"")
    largest = (V2 + b"\x21\x11\x10\0\1\2\3\4\5\6\7\x08\0\1\0\2").ljust(16 + 4096, b"\0")
    assert Parser().feed(largest[:-1]) is None
    assert Parser().feed(largest + b"!") == Result(("1.2.3.4", 1), ("5.6.7.8", 2), b"!")


def test_the_words_of_a_cut_header() -> None:
    assert f"PROXY header: {WORDS['CUT']}" == CUT
