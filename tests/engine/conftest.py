"""Stores for the tests of what lies on them: a folder by its address, S3 by moto's server, Google's by an emulator."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest


@contextmanager
def served(*command):
    """Run a server (command, its port last) as a process of its own; yields host:port when it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", *command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def bucket():
    """Address of an S3 bucket on moto's server, and its options."""
    pytest.importorskip("moto", reason="moto, which stands in for S3, is not installed")
    pytest.importorskip("flask_cors", reason="moto's server needs flask and flask_cors")
    held = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(dict.fromkeys(held, "testing"))
    try:
        with served("moto.server", "-p") as server:
            from pyarrow.fs import S3FileSystem

            where = {"endpoint_override": server, "scheme": "http", "region": "us-east-1"}
            S3FileSystem(**where, allow_bucket_creation=True).create_dir("faces")
            yield "s3://faces", "&".join(f"{name}={value}" for name, value in where.items())
    finally:
        for name, value in held.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def google_bucket():
    """Address of a bucket on an emulator of Google's store, and its options."""
    pytest.importorskip("gcp_storage_emulator", reason="gcp-storage-emulator, which stands in for gs://, is missing")
    with served("gcp_storage_emulator", "start", "--in-memory", "--default-bucket", "faces", "--port") as server:
        yield "gs://anonymous@faces", f"endpoint_override={server}&scheme=http"


@pytest.fixture(params=["file", "s3", "gs"])
def address(request, tmp_path):
    """Address of an empty folder on each kind of store."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    start, options = request.getfixturevalue({"s3": "bucket", "gs": "google_bucket"}[request.param])
    return f"{start}/{tmp_path.name}/{time.monotonic_ns()}?{options}"
