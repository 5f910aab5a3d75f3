"""A server that takes what publishers send, in the mood that a file says.

    python -m tests.live.moody PORT FILE

It speaks http on PORT and TLS on the next one. The file holds two words: well, failing (500 to
everybody) or dripping (a byte now and then, without end), and which certificate it shows: NAME, for
NAME.crt and NAME.key beside the file.
"""

import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

PORT, FILE = int(sys.argv[1]), Path(sys.argv[2])


def mood() -> tuple[str, str]:
    """Return (how it answers, which certificate it shows), as of now."""
    answer, pair = FILE.read_text().split()
    return answer, pair


class Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        answer, _ = mood()
        while answer == "dripping":
            self.wfile.write(b"H")
            time.sleep(0.1)
            answer, _ = mood()
        self.send_response(500 if answer == "failing" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_PUT = do_POST  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's names
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hangs up, or does not believe the certificate, makes no error here."""


class Secure(Server):
    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS with the certificate of the moment, in the connection's own thread."""
        _, pair = mood()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(FILE.with_name(f"{pair}.crt"), FILE.with_name(f"{pair}.key"))
        with context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)


def main() -> None:
    """Serve for ever."""
    plain = Server(("127.0.0.1", PORT), Taking)
    Thread(target=plain.serve_forever, daemon=True).start()
    Secure(("127.0.0.1", PORT + 1), Taking).serve_forever()


if __name__ == "__main__":
    main()
