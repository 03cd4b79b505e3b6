"""The process of one engine: scripts come in as lines of JSON, what was told goes out.  worker.py BACKEND FOLDER"""

from __future__ import annotations

import faulthandler
import json
import logging
import sys
import traceback
from pathlib import Path

import wawo

from .wire import Barrier
from .world import World

HANG_SECONDS = 60.0


def main() -> None:
    backend, folder = sys.argv[1:]
    logging.disable(logging.CRITICAL)  # exceptions of callbacks are asked for
    with wawo.IoPool(1, backend=backend) as pool:
        barrier = Barrier(pool)
        for line in sys.stdin:
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            try:
                answer = World(json.loads(line), pool, barrier, Path(folder)).run()
            except Exception:
                answer = {"failed": traceback.format_exc()}
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps(answer), flush=True)
        barrier.close()
