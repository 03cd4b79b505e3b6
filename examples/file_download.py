"""A server that sends the files of a folder, and a client that fetches one.

Shows send_file with a head, OS errors that raise at the call, close() right behind a file that is still on its way. A
request is a name and a newline; the answer is the size, a newline and the file, or `-` and why not.

    python examples/file_download.py serve .                # 127.0.0.1 port 5555, until Ctrl-C
    python examples/file_download.py get README.md copy
"""

import argparse
import os
from pathlib import Path

import wawo


class Sender(wawo.Listener):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def OnReceive(self, conn, data):
        request = (conn.extra or b"") + data
        if not request.endswith(b"\n"):
            conn.extra = request[:256]
            return  # the rest will come
        path = self.folder / Path(os.fsdecode(request[:-1])).name  # never out of the folder
        try:
            conn.send_file(path, 0, (size := path.stat().st_size), head=b"%d\n" % size)
        except (OSError, ValueError) as error:  # missing, a directory, no regular file, ...
            conn.send(f"-{error}\n".encode())
        conn.close()  # when all of it is sent


class Fetcher(wawo.Listener):
    def __init__(self, out) -> None:
        self.out, self.head, self.missing = out, b"", -1

    def OnReceive(self, conn, data):
        if self.missing < 0:
            self.head, newline, data = (self.head + data).partition(b"\n")
            if not newline or self.head.startswith(b"-"):
                return
            self.missing = int(self.head)
        self.missing -= self.out.write(data)


def fetch(asked: argparse.Namespace) -> int:
    with asked.to.open("wb") as out, wawo.TcpClient(fetcher := Fetcher(out)) as client:
        client.start("127.0.0.1", asked.port)
        client.send(os.fsencode(asked.name) + b"\n")
        client.wait()
    said, good = fetcher.head.decode() or "no answer", fetcher.missing == 0
    print(f"{said} bytes in {asked.to}" if good else f"failed: {said.lstrip('-')}")
    return int(not good)


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends files, or fetches one.")
    parser.add_argument("--port", type=int, default=5555)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve").add_argument("folder", type=Path)
    get = commands.add_parser("get")
    get.add_argument("name")
    get.add_argument("to", type=Path)
    asked = parser.parse_args()
    try:
        if asked.command == "get":
            return fetch(asked)
        with wawo.TcpServer(Sender(asked.folder)) as server:
            server.start("127.0.0.1", asked.port)
            print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
            return int(not server.wait())
    except KeyboardInterrupt:
        return 0
    except wawo.StartError as error:
        parser.exit(1, f"{error.message}\n")


if __name__ == "__main__":
    raise SystemExit(main())
