"""A web server on this machine that misbehaves as told: drops connections, lies about lengths,
ignores Range.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyServer:
    """files: {path: bytes}. faults: {path: [fault of the first request, of the second, ...]}, the
    last one lasts.

    A fault is a set of words: "drop" closes the connection half-way through what is left, "drop at
    once" after the headers, "no range" answers with the whole file, "too long" and "too short"
    misstate the length, "new version" sends what is in `newer` under another ETag, or with "same
    tag" not, "no tag" has none, "encoded" claims Content-Encoding; "404" and the like are statuses.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.newer: dict[str, bytes] = {}
        self.faults: dict[str, list[set[str]]] = {}
        self.requests: dict[str, list[str]] = defaultdict(list)
        self.sent = 0
        self.address = ""

    def fault_of(self, path: str) -> set[str]:
        plan = self.faults.get(path, [set()])
        return plan[min(len(self.requests[path]), len(plan)) - 1]


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    state = FaultyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests[self.path].append(self.headers.get("Range", ""))
            answer(self, state)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, state: FaultyServer) -> None:
    fault, content = state.fault_of(handler.path), state.files.get(handler.path)
    if "new version" in fault:
        content = state.newer[handler.path]
    status = next((int(word) for word in fault if word.isdecimal()), None)
    if content is None or status:
        handler.send_error(status or 404)
        return
    tag = '"second"' if "new version" in fault and "same tag" not in fault else '"first"'
    asked = handler.headers.get("Range", "")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if "no range" in fault or handler.headers.get("If-Range", tag) != tag:
        start = 0
    elif start >= len(content) > 0 and asked:
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{len(content)}")
        handler.end_headers()
        return
    body = content[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    if "no tag" not in fault:
        handler.send_header("ETag", tag)
    if "encoded" in fault:
        handler.send_header("Content-Encoding", "gzip")
    lie = 100 if "too long" in fault else -100 if "too short" in fault else 0
    handler.send_header("Content-Length", str(len(body) + lie))
    handler.end_headers()
    if "drop" in fault:
        body = body[: len(body) // 2]
    elif "drop at once" in fault:
        body = b""
    state.sent += len(body)
    try:
        handler.wfile.write(body)
    except OSError:
        pass  # the other side has had enough
