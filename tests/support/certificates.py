"""The certificates of the tests, made by whoever runs them: each is a PEM file with its key and chain.

``python certificates.py FOLDER`` makes them for a Python for which there is no ``cryptography``: with that folder in
WAWO_TEST_CERTIFICATES the tests take them from there.
"""

from __future__ import annotations

import atexit
import datetime
import functools
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

_lock = threading.Lock()

HERE = ("localhost", "127.0.0.1", "::1")


def make(folder: Path) -> None:
    """authority.pem signs all but foreign.pem."""
    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
    made = {
        "server": authority.issue_cert(*HERE),
        "renewed": authority.issue_cert(*HERE, common_name="renewed"),
        "rsa": authority.issue_cert(*HERE, key_type=trustme.KeyType.RSA),
        "one": authority.issue_cert("one.example"),
        "two": authority.issue_cert("two.example"),
        "client": authority.issue_cert("client@example.org", common_name="a client"),
        "expired": authority.issue_cert(*HERE, not_before=past - datetime.timedelta(days=9), not_after=past),
        "foreign": stranger.issue_cert(*HERE),
    }
    authority.cert_pem.write_to_path(folder / "authority.pem")
    for name, one in made.items():
        one.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")


def folder() -> Path:
    """Where they are; made on first need. Any thread."""
    with _lock:
        return _folder()


@functools.cache
def _folder() -> Path:
    given = os.environ.get("WAWO_TEST_CERTIFICATES")
    if given:
        return Path(given)
    made = Path(tempfile.mkdtemp(prefix="wawo-certificates-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    make(made)
    return made


if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    make(where)
