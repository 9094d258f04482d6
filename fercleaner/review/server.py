"""The review page on 127.0.0.1: a few routes over a `Session`, behind a token and a check of Host and Origin.

Nothing else of the disk can be asked for: pictures go by row number, page files by a fixed list. No request leaves the
machine; the page's content policy allows its own address alone.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable
from importlib import resources
from typing import Any

from ..core.errors import FercleanerError, InputError, MissingDependency, StoreError
from ..core.text import read_json
from ..extraction.images import UnreadableImage
from .pictures import ShownPictures
from .session import UNDO, Session, items_from

HOST = "127.0.0.1"
#: Largest request (bytes).
MOST_BYTES = 1 << 20
#: Files of the page and their media types.
PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "app.js": ("app.js", "text/javascript; charset=utf-8"),
    "style.css": ("style.css", "text/css; charset=utf-8"),
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def build(session: Session, pictures: ShownPictures, token: str, port: int) -> Any:
    """Return the ASGI application.

    Raises
    ------
    MissingDependency
        starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.routing import Route
    except ImportError as error:
        raise MissingDependency("starlette", "The review page", extra="review") from error
    pages = Pages(session, pictures)
    routes = [
        Route("/api/start", pages.start),
        Route("/api/next", pages.next),
        Route("/api/grid", pages.grid),
        Route("/api/face/{row:int}", pages.face),
        Route("/api/decide", pages.decide, methods=["POST"]),
        Route("/picture/{row:int}", pages.picture),
        Route("/", pages.file),
        Route("/{name:str}", pages.file),
    ]
    return Guard(Starlette(routes=routes), token, port)


class Pages:
    """The answers to requests; a method a route.

    Answers that take a few milliseconds are given at once, a flush to disk included: to hand them to a thread costs
    more than it frees. Pictures are read in threads.
    """

    def __init__(self, session: Session, pictures: ShownPictures) -> None:
        self._session, self._pictures = session, pictures

    async def start(self, request: Any) -> Any:
        """What a page needs once."""
        return _json(self._session.start)

    async def next(self, request: Any) -> Any:
        """The face to decide next."""
        return _json(lambda: self._session.next(_window(request)))

    async def grid(self, request: Any) -> Any:
        """Faces of one kind to decide together."""
        return _json(lambda: self._session.grid(_window(request)))

    async def face(self, request: Any) -> Any:
        """One face by its row."""
        return _json(lambda: self._session.face(request.path_params["row"]))

    async def decide(self, request: Any) -> Any:
        """Write decisions, then answer with what comes next."""
        body = await request.body()
        return _json(lambda: self._decided(body))

    def _decided(self, body: bytes) -> dict[str, Any]:
        try:
            payload = read_json(body)
            items, window = items_from(payload), str(payload["window"])
            action, then = str(payload["action"]), str(payload.get("then", "next"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError("Review: the request is not a decision.") from error
        if action == UNDO:
            self._session.undo([item.row for item in items])
        else:
            self._session.decide(items, action)
        if then == "grid":
            return self._session.grid(window)
        if then == "stay":
            return {"face": self._session.face(items[0].row), "ahead": [], "progress": self._session.progress()}
        return self._session.next(window)

    def picture(self, request: Any) -> Any:
        """The picture of a row."""
        from starlette.responses import JSONResponse, Response

        row = request.path_params["row"]
        try:
            if row >= len(self._session.refined):
                raise UnreadableImage("no such row")
            data, kind = self._pictures.read(row)
        except UnreadableImage as error:
            return JSONResponse({"error": str(error)}, status_code=404)
        return Response(data, media_type=kind, headers={"cache-control": "private, max-age=3600"})

    def file(self, request: Any) -> Any:
        """A file of the page."""
        from starlette.responses import Response

        found = PAGE.get(request.path_params.get("name", ""))
        if found is None:
            return Response("not found", status_code=404, media_type="text/plain")
        return Response(resources.files(__package__).joinpath("page", found[0]).read_bytes(), media_type=found[1])


def _window(request: Any) -> str:
    return str(request.query_params.get("window", ""))


def _json(call: Callable[[], dict[str, Any]]) -> Any:
    """Return the answer of `call`, or its error, as JSON."""
    from starlette.responses import JSONResponse

    try:
        return JSONResponse(call())
    except FercleanerError as error:
        status = 507 if isinstance(error, StoreError) else 400
        return JSONResponse({"error": str(error)}, status_code=status)


class Guard:
    """Refuse what is not this page on this machine: wrong Host, wrong token, another origin, too large a request.

    The token is the first part of the path and is cut off before the application sees it.
    """

    def __init__(self, app: Any, token: str, port: int) -> None:
        self._app, self._token = app, token.encode()
        self._hosts = {f"{name}:{port}".encode() for name in (HOST, "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        _, _, rest = scope["path"].partition("/")
        token, slash, path = rest.partition("/")
        status = self._refusal(scope, headers, token)
        if status is None and not slash:
            status = 404
        if status is not None:
            await _refuse(send, status)
            return
        inner = {**scope, "path": "/" + path, "raw_path": ("/" + path).encode(), "root_path": ""}
        await self._app(inner, receive, _with_headers(send))

    def _refusal(self, scope: Any, headers: dict[bytes, bytes], token: str) -> int | None:
        if headers.get(b"host", b"").lower() not in self._hosts:
            return 421
        if not secrets.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            return 403
        if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
            return 403
        if scope["method"] == "POST":
            if headers.get(b"origin") not in self._origins and b"origin" in headers:
                return 403
            if headers.get(b"content-type", b"").split(b";")[0].strip() != b"application/json":
                return 415
            size = headers.get(b"content-length", b"")
            if not size.isdigit() or int(size) > MOST_BYTES:
                return 413
        return None


def _with_headers(send: Any) -> Any:
    async def wrapped(message: Any) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message["headers"]}
            more = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return wrapped


async def _refuse(send: Any, status: int) -> None:
    send = _with_headers(send)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"refused\n"})


def serve(session: Session, pictures: ShownPictures, *, port: int = 0, ready: Callable[[str], None]) -> None:
    """Serve the page until interrupted; call `ready` with its address once it answers there.

    Parameters
    ----------
    port : int
        0 takes a free one.

    Raises
    ------
    MissingDependency
        uvicorn or starlette is not installed.
    InputError
        The port is taken.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingDependency("uvicorn", "The review page", extra="review") from error
    # With the protocol named, asyncio turns Nagle's algorithm off; left on, it costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise InputError(
            f"--port {port}: {(error.strerror or str(error)).lower()}. Leave it out to take a free one."
        ) from error
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    app = build(session, pictures, token, port)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=False, lifespan="off"
    )
    ready(f"http://{HOST}:{port}/{token}/")
    try:
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn ends, then raises it again
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
