"""Stores for the tests of what lies on them: a folder by its address, and S3 by moto's server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest


@pytest.fixture(scope="module")
def bucket():
    """Address of an S3 bucket on moto's server, run as a process of its own."""
    pytest.importorskip("moto", reason="moto, which stands in for S3, is not installed")
    pytest.importorskip("flask_cors", reason="moto's server needs flask and flask_cors")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    held = {name: os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    os.environ.update(dict.fromkeys(held, "testing"))
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        from pyarrow.fs import S3FileSystem

        where = {"endpoint_override": f"127.0.0.1:{port}", "scheme": "http", "region": "us-east-1"}
        S3FileSystem(**where, allow_bucket_creation=True).create_dir("faces")
        yield "s3://faces", "&".join(f"{name}={value}" for name, value in where.items())
    finally:
        server.kill()
        server.wait()
        for name, value in held.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(params=["file", "s3"])
def address(request, tmp_path):
    """Address of an empty folder on each kind of store."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    start, options = request.getfixturevalue("bucket")
    return f"{start}/{tmp_path.name}/{time.monotonic_ns()}?{options}"
