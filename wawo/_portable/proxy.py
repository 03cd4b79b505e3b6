"""The PROXY protocol, versions 1 and 2: what ``wawo/_core/proto/proxy.c`` does, in Python and in the same words.

Pure: no clock, and of the module socket only the text of an address. Addresses are (host, port); IPv4-mapped IPv6 is
given as IPv4.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple

Address = tuple[str, int]

_V1_SIGNATURE = b"PROXY "
_V1_MAX = 107
_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD = 16
_V2_MAX = _V2_HEAD + 4096
_V2_SIZES = {0x00: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
"""Bytes of addresses for each family and transport that the protocol has."""

CUT = "PROXY header: the connection ended inside it"


class Result(NamedTuple):
    """A whole header. The addresses are None when it does not tell: those of the socket hold then."""

    source: Address | None
    destination: Address | None
    rest: bytes
    """What came behind it."""


def _bad(text: str) -> ValueError:
    return ValueError(f"PROXY header: {text}")


class Parser:
    """One header, which may come in pieces."""

    __slots__ = ("_have",)

    def __init__(self) -> None:
        self._have = bytearray()

    @property
    def started(self) -> bool:
        """Whether any byte of it has come."""
        return bool(self._have)

    def feed(self, data: bytes) -> Result | None:
        """None: more is needed. ValueError in the words of the compiled engine as soon as it is certainly a bad one."""
        have = self._have
        have += data
        if not have:
            return None
        return _parse_v2(have) if have[0] == _V2_SIGNATURE[0] else _parse_v1(have)


# ---- version 1: a line of text ----


def _parse_v1(have: bytearray) -> Result | None:
    if not _V1_SIGNATURE.startswith(have[: len(_V1_SIGNATURE)]):
        raise _bad("no signature")
    window = bytes(have[:_V1_MAX])
    found = re.compile(rb"[\r\n]").search(window, len(_V1_SIGNATURE))
    if found is None:
        end = len(window)
    else:
        end = found.start()
        # A lone CR or LF ends no line: those who read on would disagree about where the data begins.
        if window[end : end + 2] not in (b"\r", b"\r\n"):
            raise _bad("the line does not end with CRLF")
    if end + 1 >= len(window):
        if len(have) < _V1_MAX:
            return None
        raise _bad("the line is over 107 bytes")
    source, destination = _read_line(window[len(_V1_SIGNATURE) : end])
    return Result(source, destination, bytes(have[end + 2 :]))


def _read_line(line: bytes) -> tuple[Address | None, Address | None]:
    words = line.split(b" ")
    if words[0] == b"UNKNOWN":
        return None, None  # and whatever follows is to be ignored
    if words[0] not in (b"TCP4", b"TCP6"):
        raise _bad("unknown address family or transport")
    if len(words) != 5:
        raise _bad("not two addresses and two ports")
    hosts = [_read_host(word, words[0] == b"TCP6") for word in words[1:3]]
    ports = [_read_port(word) for word in words[3:]]
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _read_host(word: bytes, ipv6: bool) -> str:
    try:
        text = word.decode("ascii")
        if not ipv6:
            return str(ipaddress.IPv4Address(text))
        if "%" in text:  # ipaddress takes a scope
            raise _bad("bad address")
        return _text_of_ipv6(ipaddress.IPv6Address(text))
    except (ipaddress.AddressValueError, UnicodeDecodeError):
        raise _bad("bad address") from None


def _read_port(word: bytes) -> int:
    if re.fullmatch(rb"0|[1-9][0-9]{0,4}", word) is None or int(word) > 65535:
        raise _bad("bad port")
    return int(word)


def _text_of_ipv6(address: ipaddress.IPv6Address) -> str:
    """As the address of a socket reads, which differs from ipaddress in rare ones."""
    return str(address.ipv4_mapped or socket.inet_ntop(socket.AF_INET6, address.packed))


# ---- version 2: binary ----


def _parse_v2(have: bytearray) -> Result | None:
    if not _V2_SIGNATURE.startswith(have[: len(_V2_SIGNATURE)]):
        raise _bad("no signature")
    command = have[12] if len(have) > 12 else 0x21
    if command >> 4 != 2:
        raise _bad("unknown version")
    if command & 0x0F > 1:
        raise _bad("unknown command")
    local = command & 0x0F == 0
    kind = have[13] if len(have) > 13 and not local else 0  # with LOCAL the family is to be ignored
    if kind not in _V2_SIZES:
        raise _bad("unknown address family or transport")
    if len(have) < _V2_HEAD:
        return None
    size = int.from_bytes(have[14:16], "big")
    if size > _V2_MAX - _V2_HEAD:
        raise _bad(f"over {_V2_MAX} bytes")
    if size < _V2_SIZES[kind]:
        raise _bad("too short for its addresses")
    if len(have) < _V2_HEAD + size:
        return None
    source, destination = _read_addresses(kind, bytes(have[_V2_HEAD : _V2_HEAD + size]))
    return Result(source, destination, bytes(have[_V2_HEAD + size :]))


def _read_addresses(kind: int, p: bytes) -> tuple[Address | None, Address | None]:
    """Those of TCP; a datagram and a unix socket tell of no connection that could be shown."""
    if kind == 0x11:
        hosts = [str(ipaddress.IPv4Address(p[at : at + 4])) for at in (0, 4)]
    elif kind == 0x21:
        hosts = [_text_of_ipv6(ipaddress.IPv6Address(p[at : at + 16])) for at in (0, 16)]
    else:
        return None, None
    ports = p[_V2_SIZES[kind] - 4 :]
    return (hosts[0], int.from_bytes(ports[:2], "big")), (hosts[1], int.from_bytes(ports[2:4], "big"))
