"""Sockets, the log of requests, and the faults that a test injects."""

import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypedDict
from urllib.parse import parse_qs, urlsplit

from tests.mini_hub.messages import HubError, Request, Response
from tests.mini_hub.routes import answer_api, answer_cdn
from tests.mini_hub.store import Store, User

ANSWERS = {"api": answer_api, "cdn": answer_cdn}


class LogEntry(TypedDict):
    """A request as it came, and the status it got; 0 when the connection was dropped instead.

    `body` is kept for the api origin only: the CDN carries whole models.
    """

    origin: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int


@dataclass
class Fault:
    """What goes wrong with the next `times` matching requests; see `MiniHub.fault`."""

    method: str
    path_part: str
    times: int
    status: int | None = None
    cut: int | None = None
    corrupt: bool = False
    delay: float = 0
    hook: Callable[[], Any] | None = None

    def strikes(self, method: str, path: str) -> bool:
        """Whether the request is one of those."""
        return self.times > 0 and re.fullmatch(self.method, method) is not None and self.path_part in path

    def before_answer(self) -> None:
        """Everything that happens before the Hub looks at the request."""
        time.sleep(self.delay)
        if self.hook is not None:
            self.hook()
        if self.status is not None:
            raise HubError(self.status, "injected fault")

    def damage(self, body: bytes) -> bytes:
        """The answer's body as it arrives."""
        if self.corrupt:
            body = bytes([body[0] ^ 1]) + body[1:]
        return body[: self.cut]


NO_FAULT = Fault("", "", times=0)


class MiniHub(Store):
    """A Hub on two ports of the loopback interface: `url` for the api, `cdn_url` for large files.

    Args:
        users: owners by token; default `hf_write` (user "user" of organisation "acme"), `hf_read` (the same user with
            a read token) and `hf_other` (user "other").
        multipart_chunk: size of the parts in which larger files are uploaded; None for whole files.
        xet: store large files through xet, as the real Hub does today, instead of plain LFS.
        page_size: entries in one page of a file list.
    """

    def __init__(
        self,
        users: dict[str, User] | None = None,
        multipart_chunk: int | None = None,
        xet: bool = False,
        page_size: int = 1000,
    ) -> None:
        super().__init__(users, multipart_chunk, xet, page_size)
        self.log: list[LogEntry] = []
        self.faults: list[Fault] = []
        self.servers = {origin: serve(self, origin) for origin in ANSWERS}
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_port}" for server in self.servers.values())

    def fault(
        self,
        method: str,
        path_part: str,
        times: int = 1,
        *,
        status: int | None = None,
        cut: int | None = None,
        corrupt: bool = False,
        delay: float = 0,
        hook: Callable[[], Any] | None = None,
    ) -> None:
        """Let the next `times` requests whose address contains `path_part` go wrong.

        Args:
            method: GET, PUT, ...; several as `GET|HEAD`.
            path_part: part of path and query, quoted as the client sends it.
            times: number of requests that are struck.
            status: answer this error instead.
            cut: drop the connection after so many bytes of the upload (PUT) or of the answer (all others).
            corrupt: flip one bit of the answer's body.
            delay: seconds to wait first.
            hook: call this first, for example to commit as another writer.
        """
        self.faults.append(Fault(method, path_part, times, status, cut, corrupt, delay, hook))

    def take_fault(self, method: str, path: str) -> Fault:
        """Fault for this request, counted down."""
        with self.lock:
            for fault in self.faults:
                if fault.strikes(method, path):
                    fault.times -= 1
                    return fault
            return NO_FAULT

    def requests(self, method: str | None = None, path_part: str = "", origin: str | None = None) -> list[LogEntry]:
        """Logged requests of this method, with this in their address, to this origin ("api" or "cdn")."""
        return [
            entry
            for entry in self.log
            if method in (None, entry["method"]) and path_part in entry["path"] and origin in (None, entry["origin"])
        ]

    def close(self) -> None:
        """Stop serving and delete what is on disk."""
        for server in self.servers.values():
            server.shutdown()
            server.server_close()
        if self.xet is not None:
            self.xet.close()


def serve(hub: MiniHub, origin: str) -> ThreadingHTTPServer:
    """Serve one origin in a thread of its own, on a free port."""
    handler = type("OriginHandler", (Handler,), {"hub": hub, "origin": origin})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return server


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: MiniHub
    origin: str
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # buffered: headers and body leave in one packet

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on stderr; `MiniHub.log` has it all."""

    def handle_request(self) -> None:
        """Receive one request, let its fault strike, answer."""
        fault = self.hub.take_fault(self.command, self.path)
        if self.command == "PUT" and fault.cut is not None:
            self.rfile.read(fault.cut)
            self.note(b"", 0)
            self.drop_connection()
            return
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # the client was killed in the middle: half a commit must not become a commit
            self.close_connection = True
            return
        response = self.respond(fault, body)
        response.encode()
        if self.command == "GET" and response.status == 200:
            response = select_range(response, self.headers.get("Range", ""))
        self.note(body, response.status)
        self.send(response, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def respond(self, fault: Fault, body: bytes) -> Response:
        """Answer of the Hub, or of the fault."""
        url = urlsplit(self.path)
        request = Request(self.hub, self.command, url.path, parse_qs(url.query), self.headers, body)
        try:
            fault.before_answer()
            with self.hub.lock:
                return ANSWERS[self.origin](request)
        except HubError as error:
            return error.response

    def note(self, body: bytes, status: int) -> None:
        """Log the request, before the client has its answer: a test never misses what its own call did."""
        entry: LogEntry = {
            "origin": self.origin,
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers),
            "body": body if self.origin == "api" else b"",
            "status": status,
        }
        self.hub.log.append(entry)

    def send(self, response: Response, fault: Fault) -> None:
        """Write the answer, with the damage that the fault does to it."""
        self.send_response(response.status)
        length = {"Content-Length": str(len(response.body)), "X-Request-Id": f"request-{len(self.hub.log)}"}
        for name, value in (length | response.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(fault.damage(response.body))
        if fault.cut is not None:
            self.wfile.flush()
            self.drop_connection()

    def drop_connection(self) -> None:
        """Hang up in the middle of a transfer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def select_range(response: Response, wanted: str) -> Response:
    """The part of an answer that a client asks for when it resumes a download."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
    if found is None:
        return response
    total = len(response.body)
    start, end = int(found[1]), min(int(found[2] or total), total - 1)
    if start >= total:
        return Response(b"", 416, {"Content-Range": f"bytes */{total}"})
    part = response.body[start : end + 1]
    return Response(part, 206, response.headers | {"Content-Range": f"bytes {start}-{end}/{total}"})
