"""PROXY headers, as proxies send them and as others might."""

from __future__ import annotations

import ipaddress

SOURCE, DESTINATION = ("192.0.2.1", 1234), ("198.51.100.2", 443)
SOURCE6, DESTINATION6 = ("2001:db8::1", 65_535), ("2001:db8::2", 0)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n"


Address = tuple[str, int]


def v2(kind: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


def addresses(source: Address, destination: Address) -> bytes:
    ips = b"".join(ipaddress.ip_address(host).packed for host, _ in (source, destination))
    return ips + source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")


V2 = v2(0x11, addresses(SOURCE, DESTINATION))


# name: header, remote address, local address; None: those of the socket
HEADERS: dict[str, tuple[bytes, Address | None, Address | None]] = {
    "v1": (V1, SOURCE, DESTINATION),
    "v1 ipv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n", SOURCE6, DESTINATION6),
    "v1 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1234 443\r\n", SOURCE, DESTINATION),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None, None),
    "v1 unknown with more": (b"PROXY UNKNOWN 192.0.2.1 whatever\r\n", None, None),
    "v2": (V2, SOURCE, DESTINATION),
    "v2 extended": (v2(0x11, addresses(SOURCE, DESTINATION) + b"\x01\0\x05hello"), SOURCE, DESTINATION),
    "v2 ipv6": (v2(0x21, addresses(SOURCE6, DESTINATION6)), SOURCE6, DESTINATION6),
    "v2 unix": (v2(0x31, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")), None, None),
    "v2 unspec": (v2(0x00, b"tlv"), None, None),
    "v2 local": (v2(0x00, b"", 0x20), None, None),
    "v2 local with addresses": (v2(0x11, addresses(SOURCE, DESTINATION), 0x20), None, None),
}


# what is wrong: what a peer sends
MALFORMED = {
    "no signature": b"GET / HTTP/1.1\r\n\r\n",
    "the line does not end with CRLF": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\n",
    "the line is over 107 bytes": b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
    "not two addresses and two ports": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n",
    "unknown address family or transport": b"PROXY UDP4 192.0.2.1 198.51.100.2 1234 443\r\n",
    "bad address": b"PROXY TCP4 192.0.2.01 198.51.100.2 1234 443\r\n",
    "bad port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 65536\r\n",
    "unknown version": v2(0x11, addresses(SOURCE, DESTINATION), 0x31),
    "unknown command": v2(0x11, addresses(SOURCE, DESTINATION), 0x22),
    "too short for its addresses": v2(0x21, addresses(SOURCE, DESTINATION)),
    "over 4112 bytes": v2(0x11, bytes(4097)),
}
