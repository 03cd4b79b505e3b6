"""A game server with a main loop of its own: the world moves 20 times a second, and only the main thread touches it.

Shows how to embed wawo in an application that has a loop already: callbacks run on wawo's thread and only put what came
into a queue; each tick takes that, moves the world and broadcasts one snapshot. pause, resume, send and broadcast may
be called on any thread. (Is that loop asyncio's, a callback calls `loop.call_soon_threadsafe` instead of `put`.)

    python examples/game_loop.py --port 5555 &
    nc 127.0.0.1 5555             # then lines of: up, down, left, right
"""

import argparse
import json
import queue
import time

import wawo

SIZE = 20
MOVES = {b"up": (0, -1), b"down": (0, 1), b"left": (-1, 0), b"right": (1, 0)}


class Inbox(wawo.Listener):
    """From wawo's thread to the main one: one command of a player at a time, the others wait in the network."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[tuple[wawo.Connection, bytes | None]] = queue.SimpleQueue()

    def OnReceive(self, conn, line):
        conn.pause()  # until the main loop has taken this one: so nobody can fill the queue
        self.waiting.put((conn, line.strip()))

    def OnClose(self, conn, operation, error):
        self.waiting.put((conn, None))


class World:
    def __init__(self) -> None:
        self.players: dict[int, tuple[int, int]] = {}
        self.ticks = 0

    def tick(self, inbox: Inbox) -> None:
        self.ticks += 1
        for _ in range(inbox.waiting.qsize()):
            conn, command = inbox.waiting.get()
            if command is None:
                self.players.pop(conn.id, None)
                continue
            x, y = self.players.get(conn.id, (SIZE // 2, SIZE // 2))
            dx, dy = MOVES.get(command, (0, 0))
            self.players[conn.id] = ((x + dx) % SIZE, (y + dy) % SIZE)
            conn.resume()


def main() -> None:
    parser = argparse.ArgumentParser(description="A game server with a tick loop.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5555, help="0: any free one")
    parser.add_argument("--rate", type=float, default=20.0, metavar="N", help="ticks a second, default 20")
    asked = parser.parse_args()
    inbox, world = Inbox(), World()
    with wawo.TcpServer(inbox, framing=wawo.Delimited(b"\n", max_size=64)) as server:
        server.start(asked.host, asked.port)
        due = time.monotonic()
        try:
            print(f"listening on {server.address[0]} port {server.address[1]}", flush=True)
            while True:
                world.tick(inbox)
                snapshot = {"tick": world.ticks, "players": world.players}
                server.broadcast(json.dumps(snapshot).encode())  # who lags misses some, the next one says it all
                due = max(due + 1 / asked.rate, time.monotonic())  # a late tick is not made up for
                time.sleep(max(0.0, due - time.monotonic()))
        except KeyboardInterrupt:
            print(f"{world.ticks} ticks, {server.stats()['messages_in']} commands")


if __name__ == "__main__":
    main()
