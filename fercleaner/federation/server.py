"""The coordinator on the network: HTTPS with its own certificate, eight requests, each with a site's secret."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..core.errors import FercleanerError, StoreError
from . import messages
from .coordinator import Coordinator
from .keys import KeyRing
from .terms import SiteError

#: Seconds that a connection may stand still.
STILL = 60.0
#: Seconds between looks at whether a round has waited long enough.
TICK = 0.5
#: Seconds that a federation that cannot go on is served, so that sites that ask where it stands get the error.
LAST_ANSWERS = 5.0
BINARY, JSON = "application/octet-stream", "application/json"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection; `server` holds coordinator and keys."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout = STILL

    def do_GET(self) -> None:
        """Answer /status, /terms, /heads and /roster."""
        self._answer(
            {
                "/status": lambda site, _: self.server.coordinator.status(site),
                "/terms": lambda site, _: self.server.coordinator.terms_for(site),
                "/heads": lambda site, _: self.server.coordinator.current(site),
                "/roster": lambda site, _: self.server.coordinator.roster(site),
            }
        )

    def do_POST(self) -> None:
        """Answer /hello, /update, /key and /masked."""
        self._answer({"/hello": self._hello, "/update": self._update, "/key": self._key, "/masked": self._masked})

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the coordinator tells what happens."""

    def _hello(self, site: str, data: bytes) -> dict[str, Any]:
        try:
            self.server.coordinator.hello(site, _of_kind("hello", data, site))
        except SiteError as error:
            self.server.coordinator.tell(f"Refused: {error}")  # whoever runs it may be who can mend it
            raise
        return {"joined": True}

    def _update(self, site: str, data: bytes) -> dict[str, Any]:
        return {"counts": self.server.coordinator.update(site, _of_kind("update", data, site))}

    def _key(self, site: str, data: bytes) -> dict[str, Any]:
        self.server.coordinator.key(site, _of_kind("key", data, site))
        return {"known": True}

    def _masked(self, site: str, data: bytes) -> dict[str, Any]:
        return {"counts": self.server.coordinator.masked(site, _of_kind("masked", data, site))}

    def _answer(self, known: dict[str, Callable[[str, bytes], Any]]) -> None:
        scheme, _, secret = self.headers.get("Authorization", "").partition(" ")
        site = self.server.keys.owner(secret) if scheme == "Bearer" else None
        size = self._size()
        if site is None:
            self.close_connection = True
            self._send(HTTPStatus.UNAUTHORIZED, {"error": "No site of this coordinator has this key."})
            return
        if size is None:
            self.close_connection = True
            self._send(HTTPStatus.LENGTH_REQUIRED, {"error": f"Site '{site}' did not say how long its message is."})
            return
        if size > self.server.most_bytes:
            self.close_connection = True
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"Site '{site}' sent {size:,} bytes."})
            return
        data = self.rfile.read(size)
        answer = known.get(self.path)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, {"error": f"No such request: {self.path}."})
            return
        try:
            self._send(HTTPStatus.OK, answer(site, data))
        except StoreError as error:
            self.server.failed = error
            self._send(HTTPStatus.INSUFFICIENT_STORAGE, {"error": str(error)})
        except FercleanerError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    def _size(self) -> int | None:
        """Return the bytes that follow, as the headers say; None where they say no number."""
        said = self.headers.get("Content-Length")
        if said is None and self.command == "GET" and "Transfer-Encoding" not in self.headers:
            return 0
        return int(said) if said is not None and said.isascii() and said.isdigit() and len(said) < 19 else None

    def _send(self, status: HTTPStatus, content: Any) -> None:
        binary = isinstance(content, messages.Message)
        body = messages.encode(content) if binary else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", BINARY if binary else JSON)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Listens; a thread a connection, TLS shaken in that thread so that a silent caller holds up nobody.

    Parameters
    ----------
    address : (str, int)
        Port 0 takes a free one.
    coordinator : Coordinator
    keys : KeyRing
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], coordinator: Coordinator, keys: KeyRing) -> None:
        self.coordinator, self.keys, self._context = coordinator, keys, keys.context()
        self.most_bytes = messages.MOST_BYTES
        self.failed: StoreError | None = None
        try:
            super().__init__(address, Handler)
        except (OSError, OverflowError) as error:
            where = f"{address[0]}:{address[1]}"
            raise SiteError(f"--listen {where}: cannot listen there ({error}). Name another address.") from error

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, then answer; a caller that does not speak TLS is let go."""
        request.settimeout(STILL)
        try:
            secured = self._context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        try:
            super().finish_request(secured, client_address)
        except OSError:
            return
        finally:
            _close(secured)

    def _tick(self) -> None:
        try:
            self.coordinator.tick()
        except SiteError:
            time.sleep(LAST_ANSWERS)
            raise

    def run(self, *, stay: bool) -> None:
        """Serve until every site has fetched the last heads or has had its time to, or for ever (`stay`).

        StoreError where the state cannot be kept; SiteError where the sites cannot begin or go on.
        """
        import threading

        listening = threading.Thread(target=self.serve_forever, args=(TICK,), daemon=True)
        listening.start()
        try:
            while listening.is_alive():
                self._tick()
                if self.failed is not None:
                    raise self.failed
                if self.coordinator.all_served and not stay:
                    time.sleep(TICK)  # the last answer is on its way
                    return
                time.sleep(TICK)
        finally:
            self.shutdown()
            self.server_close()


def _of_kind(kind: str, data: bytes, site: str) -> messages.Message:
    return messages.expected(messages.decode(data, f"site '{site}'"), kind, f"Site '{site}'")


def _close(secured: ssl.SSLSocket) -> None:
    try:
        secured.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        secured.close()
