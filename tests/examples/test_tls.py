"""The examples with TLS, with the certificates of the run."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import certificates
import pytest

from examples import interrupt, run, server


def pem(name: str) -> str:
    return str(certificates.folder() / f"{name}.pem")


def test_echo(tmp_path: Path) -> None:
    words = ["--authority", pem("authority"), "ask"]
    with server("--certificate", pem("server"), "serve", cwd=tmp_path, name="tls_echo.py") as (child, port):
        done = run("tls_echo.py", "--port", port, *words, "hello there", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "TLSv1.3, TLS_AES_256_GCM_SHA384\nhello there\n"
        done = run("tls_echo.py", "--port", port, "--name", "one.example", *words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Hostname mismatch, certificate is not valid for 'one.example'" in done.stderr
        done = run("tls_echo.py", "--port", port, "ask", cwd=tmp_path)
        assert done.returncode == 1
        assert "unable to get local issuer certificate" in done.stderr
        assert child.stdout is not None
        while (line := child.stdout.readline()) != "127.0.0.1: TLSV1_ALERT_UNKNOWN_CA\n":
            assert line, "the server has ended"
        interrupt(child)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_renewed_certificate(tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_bytes(Path(pem("one")).read_bytes())
    ask = ["--authority", pem("authority"), "ask"]
    with server("--certificate", str(certificate), "serve", cwd=tmp_path, name="tls_echo.py") as (child, port):
        assert run("tls_echo.py", "--port", port, *ask, cwd=tmp_path).returncode == 1
        certificate.write_bytes(Path(pem("server")).read_bytes())
        child.send_signal(signal.SIGHUP)
        assert child.stdout is not None
        while child.stdout.readline() != "certificate read again\n":
            assert child.poll() is None
        assert run("tls_echo.py", "--port", port, *ask, cwd=tmp_path).returncode == 0
        interrupt(child)


def test_mutual(tmp_path: Path) -> None:
    both = ["--authority", pem("authority")]
    given = ["--certificate", pem("server"), *both, "serve"]
    with server(*given, cwd=tmp_path, name="mutual_tls.py") as (child, port):
        visit = ["--port", port, *both, "visit"]
        done = run("mutual_tls.py", "--certificate", pem("client"), *visit, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello, a client\n", "")
        done = run("mutual_tls.py", *visit, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (1, "")
        assert "ALERT_CERTIFICATE_REQUIRED" in done.stdout.upper()
        rest = interrupt(child)
    assert "refused 127.0.0.1: " in rest
    assert "peer did not return a certificate" in rest


def test_names(tmp_path: Path) -> None:
    names = [f"{name}.example={pem(name)}" for name in ("one", "two")]
    with server("serve", *names, cwd=tmp_path, name="tls_names.py") as (child, port):
        ask = ["--port", port, "--authority", pem("authority"), "ask"]
        for name in ("one", "two"):
            done = run("tls_names.py", *ask, f"{name}.example", cwd=tmp_path)
            said = f"asked for {name}.example, met {name}.example\n"
            assert (done.returncode, done.stdout, done.stderr) == (0, said, "")
        done = run("tls_names.py", *ask, "three.example", cwd=tmp_path)
        assert done.returncode == 1
        assert "unrecognized name" in done.stderr
        interrupt(child)
