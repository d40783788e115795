"""`POST /v1/images/edits` on loopback, with edits and faults that are known beforehand.

    with ImageServer(script=("429", "ok")) as server:
        editor = load_editor(f"openai:m@{server.url}?timeout=5")
        ...
        assert server.count("ok") == 1

It reads the multipart body as the real one does. A good edit paints everything whose alpha is 0 in
the mask with `PAINT` and leaves the rest alone. What happens to the first, second, ... request is
the `script`; after its end, `then`. Every request is kept in `log`, in memory, with what was sent.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
import time
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from PIL import Image

PAINT = (0, 0, 255)

# Edits: a status of 200 and a picture, good or bad.
EDITS = (
    "ok",
    "leak",  # every pixel outside the mask is shifted by 40 levels
    "no-op",  # the picture as it was sent
    "wrong-size",  # half as large
    "wrong-aspect",  # squeezed to a third of its width
    "truncated",  # base64 that ends in the middle of the picture
    "jpeg",  # not the format that was asked for
)
# A status of 200 without a picture.
EMPTY = ("no-data", "url", "html", "half-json")
# An error, named by its status or its code.
ERRORS = {
    "400": 400, "moderation": 400, "401": 401, "403": 403, "404": 404, "429": 429, "quota": 429,
    "500": 500, "503": 503,
}  # fmt: skip
# Of the connection.
BROKEN = ("drop", "hang")

_CODES = {
    "moderation": ("moderation_blocked", "Your request was rejected by the safety system."),
    "quota": ("insufficient_quota", "You exceeded your current quota."),
    "401": ("invalid_api_key", "Incorrect API key provided."),
    "404": ("model_not_found", "The model does not exist."),
}
USAGE = {
    "total_tokens": 1256,
    "input_tokens": 200,
    "output_tokens": 1056,
    "input_tokens_details": {"text_tokens": 40, "image_tokens": 160},
}


def edited(kind: str, image: Image.Image, mask: Image.Image | None) -> bytes:
    """The bytes that an edit of this kind answers with."""
    pixels = np.array(image.convert("RGB"))
    free = np.ones(pixels.shape[:2], bool)
    if mask is not None:
        free = np.asarray(mask)[..., 3] == 0
    if kind == "leak":
        pixels[~free] = np.where(pixels[~free] < 128, pixels[~free] + 40, pixels[~free] - 40)
    if kind != "no-op":
        pixels[free] = PAINT
    made = Image.fromarray(pixels)
    if kind == "wrong-size":
        made = made.resize((made.width // 2, made.height // 2))
    if kind == "wrong-aspect":
        made = made.resize((made.width // 3, made.height))
    stream = io.BytesIO()
    made.save(stream, "JPEG" if kind == "jpeg" else "PNG")
    return stream.getvalue()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        owner: ImageServer = self.server.owner
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/v1/images/edits":
            self.answer(404, {"error": {"message": f"no such path {self.path}", "code": None}})
            return
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=policy.HTTP).parsebytes(head + body)
        fields: dict[str, Any] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            fields[str(name)] = data if part.get_filename() else data.decode()
        kind = owner.note(fields, self.headers)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.react(kind, fields)

    def react(self, kind: str, fields: dict[str, Any]) -> None:
        owner: ImageServer = self.server.owner
        time.sleep(owner.delay)
        if kind in ERRORS:
            code, said = _CODES.get(kind, (None, f"planted {kind}"))
            self.answer(ERRORS[kind], {"error": {"message": said, "code": code}}, retry="0.02")
        elif kind == "drop":
            self.close_connection = True
        elif kind == "hang":
            owner.closing.wait(30)
            self.close_connection = True
        elif kind == "no-data":
            self.answer(200, {"created": 1, "data": []})
        elif kind == "url":
            self.answer(200, {"created": 1, "data": [{"url": "http://127.0.0.1:9/it.png"}]})
        elif kind == "html":
            self.send(200, b"<html><body>Welcome</body></html>")
        else:
            image = Image.open(io.BytesIO(fields["image"]))
            mask = Image.open(io.BytesIO(fields["mask"])) if "mask" in fields else None
            text = base64.b64encode(edited(kind, image, mask)).decode()
            if kind == "truncated":
                text = text[: len(text) // 2 + 1]
            value = {
                "created": 1,
                "data": [{"b64_json": text}],
                "usage": USAGE,
                "size": fields.get("size"),
                "quality": fields.get("quality"),
            }
            if kind == "half-json":
                self.send(200, json.dumps(value).encode()[:50])
            else:
                self.answer(200, value)

    def answer(self, status: int, value: dict[str, Any], retry: str = "") -> None:
        self.send(status, json.dumps(value).encode(), retry)

    def send(self, status: int, data: bytes, retry: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if retry:
            self.send_header("Retry-After", retry)
        self.end_headers()
        self.wfile.write(data)


class ImageServer:
    """The server, its address and its log; it ends with the `with` block.

    Args:
        script: what happens to the first, second, ... request: one of EDITS, EMPTY, ERRORS, BROKEN.
        then: what happens to all later ones.
        delay: seconds before every answer.
    """

    def __init__(
        self, *, script: tuple[str, ...] = (), then: str = "ok", delay: float = 0.0
    ) -> None:
        unknown = {*script, then} - {*EDITS, *EMPTY, *ERRORS, *BROKEN}
        if unknown:
            raise ValueError(f"unknown kinds {unknown}")
        self.script, self.then, self.delay = list(script), then, delay
        self.log: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self._guard = threading.Lock()
        self._server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def note(self, fields: dict[str, Any], headers: Any) -> str:
        """Writes a request down and says what happens to it."""
        with self._guard:
            number = len(self.log)
            kind = self.script[number] if number < len(self.script) else self.then
            self.log.append(
                {"kind": kind, "authorization": headers.get("Authorization", ""), **fields}
            )
            return kind

    def count(self, kind: str | None = None) -> int:
        """Requests of one kind, or of all."""
        return sum(kind is None or row["kind"] == kind for row in self.log)

    def close(self) -> None:
        """Ends the server."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ImageServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
