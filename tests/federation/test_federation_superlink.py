"""Flower's own programs on loopback with TLS: our app among three SuperNodes; one without the CA is refused."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="flwr is not installed (pip install 'fercleaner[federated]')")
pytest.importorskip("cryptography")

from fercleaner.demo import draw_dataset
from fercleaner.results import parquet

APP = Path(__file__).resolve().parents[2] / "docs" / "flower"
BIN = Path(sys.executable).parent
NAMES = ("one", "two", "three")
SECONDS = 240


def certificates(folder):
    """Write a certificate for this machine, signed by itself, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    here = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(private)
    return folder / "ca.pem", folder / "key.pem"


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Programs:
    """Programs that run beside each other, each with a file of what it says; all end with the test."""

    def __init__(self, folder, **more):
        self.folder, self.running = folder, []
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{os.environ['PATH']}", **more}

    def start(self, name, program, *words):
        command = [str(BIN / program), *map(str, words)]
        with open(self.folder / f"{name}.log", "wb") as stream:
            more = {"env": self.environment, "cwd": self.folder, "start_new_session": True}
            self.running.append(subprocess.Popen(command, stdout=stream, stderr=stream, **more))
        return self.running[-1]

    def said(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end(self):
        for one in self.running:
            if one.poll() is None:
                os.killpg(one.pid, 15)
        for one in self.running:
            try:
                one.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, 9)


@pytest.fixture
def programs(tmp_path):
    off = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(tmp_path / "flwr")}
    off["FERCLEANER_CACHE"] = str(tmp_path / "cache")
    found = Programs(tmp_path, **off)
    yield found
    found.end()


def until(done, what, programs):
    limit = time.monotonic() + SECONDS
    while not done():
        if time.monotonic() > limit:
            logs = (f"{path.name}\n{programs.said(path.stem)[-2000:]}" for path in programs.folder.glob("*.log"))
            raise AssertionError("\n".join([what, *logs]))
        time.sleep(0.5)


@pytest.mark.skipif(not os.environ.get("FERCLEANER_PROGRAMS"), reason="a minute and more; make check-all runs it")
def test_three_supernodes_with_tls_and_one_without_the_ca(tmp_path, programs):
    ca, key = certificates(tmp_path)
    where = f"127.0.0.1:{(link := port())}"
    tls = ["--ssl-ca-certfile", ca, "--ssl-certfile", ca, "--ssl-keyfile", key]
    programs.start("superlink", "flower-superlink", *tls, "--port", link, "--disable-runtime-dependency-installation")
    for number, name in enumerate(NAMES):
        draw_dataset(tmp_path / name, faces=60, noise_rate=0.1, seed=number)
        config = f'name="{name}" set="{tmp_path / name}" method="hypergraph"'
        node = ["--root-certificates", ca, "--superlink", where, "--port", port(), "--node-config", config]
        programs.start(name, "flower-supernode", *node)
    stranger = ["--superlink", where, "--port", port(), "--max-retries", "1"]
    programs.start("stranger", "flower-supernode", *stranger)
    shutil.copytree(APP, tmp_path / "app")
    (tmp_path / "flwr").mkdir(exist_ok=True)
    (tmp_path / "flwr" / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "{where}"\nroot-certificates = "{ca}"\n'
    )
    config = f'state="{tmp_path / "state"}" rounds=2'
    until(lambda: "HTTP API" in programs.said("superlink"), "SuperLink does not start", programs)
    run = programs.start("run", "flwr", "run", tmp_path / "app", "here", "--run-config", config, "--stream")
    files = [tmp_path / f"{name}.refined.parquet" for name in NAMES]
    until(lambda: all(file.exists() for file in files) or run.poll() is not None, "no refined files", programs)
    for name, file in zip(NAMES, files, strict=True):
        refined = parquet.load(file)
        assert refined.metadata["federation"]["site"] == name
        assert refined.metadata["federation"]["rounds"] == 2
        assert (file.with_name(f"{file.name}.messages") / "messages.log").exists()
    assert "Connection attempt failed" in programs.said("stranger")
    assert "SuperNode ID" in programs.said("one")
    assert "SuperNode ID" not in programs.said("stranger")
