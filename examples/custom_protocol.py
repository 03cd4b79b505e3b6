"""A framing of your own: JSON in frames with a checksum, and a server that calculates.

Shows Protocol: `decode` cuts what comes into messages of any type and raises ProtocolError for bytes that are wrong,
`encode` makes bytes of what is sent. Where a native framing fits, take that: it needs no Python for each piece.

    python examples/custom_protocol.py 1 2 3.5
    python examples/custom_protocol.py --break 1 2 3.5  # a flipped bit ends the connection
"""

import argparse
import errno
import json
import struct
import zlib

import wawo

HEAD = struct.Struct("!II")  # length and CRC-32 of what follows


class CheckedJson(wawo.Protocol):
    def __init__(self, limit: int = 65_536) -> None:
        self.limit = limit
        self.data = bytearray()

    def decode(self, data):
        self.data += data
        while len(self.data) >= HEAD.size:
            length, checksum = HEAD.unpack_from(self.data)
            if length > self.limit:
                raise wawo.ProtocolError(f"a message of {length} bytes", errno.EMSGSIZE)
            body = bytes(self.data[HEAD.size : HEAD.size + length])
            if len(body) < length:
                return
            if zlib.crc32(body) != checksum:
                raise wawo.ProtocolError("the checksum is wrong")
            del self.data[: HEAD.size + length]
            yield json.loads(body)

    def encode(self, message):
        body = json.dumps(message).encode()
        return HEAD.pack(len(body), zlib.crc32(body)) + body


class Flipped(CheckedJson):
    def encode(self, message):
        frame = super().encode(message)
        return frame[:-1] + bytes([frame[-1] ^ 1])


class Calculator(wawo.Listener):
    def OnReceive(self, conn, message):
        conn.send({"sum": sum(message["numbers"]), "count": len(message["numbers"])})

    def OnClose(self, conn, operation, error):
        print("server:", conn.error or "closed")


def show(conn, message):
    print("client:", message)
    conn.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Sums numbers by messages of JSON with a checksum.")
    parser.add_argument("--break", dest="broken", action="store_true", help="send a frame with a flipped bit")
    parser.add_argument("numbers", nargs="+", type=float)
    asked = parser.parse_args()
    with wawo.TcpServer(Calculator(), framing=CheckedJson) as server:
        server.start("127.0.0.1", 0)
        framing = Flipped if asked.broken else CheckedJson
        with wawo.TcpClient(wawo.Listener(OnReceive=show), framing=framing) as client:
            client.start(*server.address)
            client.send({"numbers": asked.numbers})
            client.wait()  # until one of them has closed
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
