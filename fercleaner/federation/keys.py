"""Who is who: the coordinator's certificate, and a key file for each site that pins it."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import os
import secrets
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import MissingDependency, StoreError
from ..core.files import write_whole
from ..core.text import read_json
from .names import distinct_files
from .terms import SiteError

#: Years that a coordinator's certificate is good for.
YEARS = 5
CERTIFICATE, PRIVATE, KNOWN = "certificate.pem", "private.pem", "keys.json"


@dataclass(frozen=True)
class SiteKey:
    """What a site is given once, by a way that both trust: who it is, its secret, and the coordinator's certificate."""

    site: str
    secret: str
    certificate: str

    @classmethod
    def read(cls, path: Path) -> SiteKey:
        """Return the key in a file; SiteError where it holds none."""
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise SiteError(f"--key {path} is no file. The coordinator makes one for each site.")
        try:
            held = read_json(path.read_text(encoding="utf-8"))
            return cls(str(held["site"]), str(held["secret"]), str(held["certificate"]))
        except FileNotFoundError as error:
            raise SiteError(f"--key {path}: no such file. The coordinator makes one for each site.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SiteError(f"--key {path} is no key file of a coordinator.") from error

    def context(self) -> ssl.SSLContext:
        """Return how this site speaks to its coordinator: TLS, and with nobody whose certificate is another."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # the certificate itself is pinned; where it is served from says nothing more
        try:
            context.load_verify_locations(cadata=self.certificate)
        except (ssl.SSLError, ValueError) as error:
            raise SiteError(f"The key of site '{self.site}' holds no certificate. Ask for a new one.") from error
        return context


class KeyRing:
    """The coordinator's folder of keys: its certificate and private key, and the digests of the sites' secrets.

    Parameters
    ----------
    folder : path
        Made where it is missing, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not (folder / CERTIFICATE).exists():
                certificate, private = self_signed()
                _private(folder / PRIVATE, private)
                write_whole(folder / CERTIFICATE, [certificate])
        except OSError as error:
            raise StoreError(f"{folder}: keys cannot be kept there ({error.strerror or error}).") from error
        self._known, self._state = self._read()

    def _read(self) -> tuple[dict[str, str], tuple[int, ...]]:
        """Return the digests of secrets by site as the file has them, and what tells that file from a later one."""
        held = self.folder / KNOWN
        try:
            if not held.exists():
                return {}, ()
            now = held.stat()
            known = read_json(held.read_text(encoding="utf-8"))
            if not isinstance(known, dict) or not all(isinstance(digest, str) for digest in known.values()):
                raise ValueError(KNOWN)
        except OSError as error:
            raise StoreError(f"{held} cannot be read ({error.strerror or error}).") from error
        except ValueError as error:
            raise StoreError(f"{held} is damaged. Put it back from a copy, or start in another folder.") from error
        return known, (now.st_ino, now.st_mtime_ns, now.st_size)

    @property
    def sites(self) -> list[str]:
        """Names of the sites that have a key."""
        return sorted(self._known)

    def invite(self, names: Sequence[str], anew: Sequence[str] = ()) -> list[Path]:
        """Make key files for the sites that have none, and new ones for those of `anew`; return where they lie.

        SiteError where two sites would have one file, or a site of `anew` has no key; StoreError where keys cannot be
        kept.
        """
        for name in anew:
            if name not in self._known:
                raise SiteError(
                    f"--new-key {name}: no site of that name has a key ({', '.join(self.sites) or 'none'})."
                )
        files = distinct_files([*self._known, *names])
        try:
            certificate = (self.folder / CERTIFICATE).read_text(encoding="utf-8")
            wanted = [name for name in files if name not in self._known or name in anew]
            made = [self._invited(name, files[name], certificate) for name in wanted]
            write_whole(self.folder / KNOWN, [json.dumps(self._known, indent=1, sort_keys=True).encode()])
        except OSError as error:
            raise StoreError(f"{self.folder}: keys cannot be kept there ({error.strerror or error}).") from error
        return made

    def _invited(self, name: str, file: str, certificate: str) -> Path:
        """Write the key file of a new site and return where it lies."""
        secret = secrets.token_hex(32)
        path = self.folder / f"{file}.key"
        text = json.dumps({"site": name, "secret": secret, "certificate": certificate}, indent=1)
        _private(path, text.encode())
        self._known[name] = _digest(secret)
        return path

    def owner(self, secret: str) -> str | None:
        """Return the site whose secret this is, or None; keys made since by another process count.

        Where the file of keys cannot be read any more, those known before do.
        """
        with suppress(OSError, StoreError):
            now = (self.folder / KNOWN).stat()
            if (now.st_ino, now.st_mtime_ns, now.st_size) != self._state:
                self._known, self._state = self._read()
        digest = _digest(secret)
        found = None
        for name, held in self._known.items():
            if hmac.compare_digest(held, digest):
                found = name
        return found

    def context(self) -> ssl.SSLContext:
        """Return how the coordinator serves: TLS with its own certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / PRIVATE)
        except (OSError, ssl.SSLError) as error:
            raise StoreError(f"{self.folder}: the coordinator's certificate cannot be read ({error}).") from error
        return context


def self_signed() -> tuple[bytes, bytes]:
    """Return a new certificate and its private key, PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingDependency("cryptography", "A coordinator's certificate", extra="federated") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fercleaner coordinator")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def _private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone can read."""
    partial = path.with_name(f".{path.name}.tmp")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
