"""What tests of pages in a browser share; the browser itself is a fixture in conftest.py."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of a folder: some scripts of a page do not run from files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def faults_of(page: Any, address: str) -> list[str]:
    """What goes wrong on a page from now on: errors, failed answers, requests to another host."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("response", lambda got: faults.append(got.url) if got.status >= 400 else None)
    page.on(
        "request",
        lambda sent: (
            faults.append(f"leaves the site: {sent.url}")
            if sent.url.startswith("http") and not sent.url.startswith(address)
            else None
        ),
    )
    return faults


def serious_findings(page: Any) -> list[str]:
    """What axe finds on a page that keeps people out, a line each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    # It would fetch imported style sheets by themselves, relative to the wrong folder.
    found = axe.run(page, options={"preload": False}).response["violations"]
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:200]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
