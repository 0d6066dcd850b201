"""smartbiz-ui on the real API and PostgreSQL: its page in a browser (ui.mjs), and what it does as a server:
python3 test_ui.py FOLDER-OF-PROGRAMS"""
import gzip
import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import unittest

from rig import Api, HERE, Postgres, Program  # noqa: E402

BIN = sys.argv.pop(1)


class UiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.api = Api(BIN, cls.postgres)
        cls.ui = Program(os.path.join(BIN, "smartbiz-ui"), API_URL=f"http://127.0.0.1:{cls.api.port}")
        cls.url = f"http://127.0.0.1:{cls.ui.port}/"

    @classmethod
    def tearDownClass(cls):
        codes = cls.ui.stop(), cls.api.stop()
        lines = cls.ui.lines()
        cls.ui.close()
        cls.api.close()
        cls.postgres.close()
        assert codes == (0, 0), codes
        assert not [line for line in lines if '"status":500' in line or "runtime error" in line], lines

    def test_the_page_in_a_browser(self):
        if shutil.which("node") is None or not os.path.isdir(os.path.join(HERE, "node_modules")):
            self.fail("Playwright is missing: run tests/smartbiz/playwright.sh")
        done = subprocess.run(
            ["node", "ui.mjs"], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=570, check=False,
            env={**os.environ, "UI_URL": self.url, "PG_STOP": self.postgres.command("stop"), "PG_START": self.postgres.command("start")})
        self.assertEqual(done.returncode, 0, done.stdout)

    # --- the server of the page

    def fetch(self, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.ui.port, timeout=30)
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def test_files_are_packed_and_kept(self):
        for path in ("/", "/app.js", "/style.css", "/icon.svg", "/text.js"):
            plain, body = self.fetch(path)
            self.assertEqual((plain.status, plain.headers["Content-Encoding"]), (200, None))
            packed, data = self.fetch(path, Accept_Encoding="gzip, deflate")
            self.assertEqual((packed.headers["Content-Encoding"], gzip.decompress(data)), ("gzip", body))
            packed, data = self.fetch(path, Accept_Encoding="gzip, br;q=0.9")
            self.assertEqual(packed.headers["Content-Encoding"], "br")
            self.assertEqual(subprocess.run(["brotli", "-dc"], input=data, capture_output=True, check=True).stdout, body)
            self.assertLess(len(data), len(body))
            again, nothing = self.fetch(path, Accept_Encoding="br", If_None_Match=packed.headers["ETag"])
            self.assertEqual((again.status, nothing), (304, b""))
            refused, _ = self.fetch(path, Accept_Encoding="br;q=0, gzip;q=0.0")
            self.assertIsNone(refused.headers["Content-Encoding"])
            self.assertEqual(len({plain.headers["ETag"], packed.headers["ETag"]}), 2)
        for path, status in (("/nothing.js", 404), ("/../etc/passwd", 400), ("/%2e%2e/x", 400), ("/a/b", 404)):
            self.assertEqual(self.fetch(path)[0].status, status, path)

    def test_the_api_behind_it(self):
        made = self.ui.request("POST", "/api/articles", {"name": "p", "price_cents": 1}, {"X-Request-Id": "through", "X-User": "P%C3%A4"})
        self.assertEqual((made.status, made.headers["X-Request-Id"]), (201, "through"))
        path = made.headers["Location"]
        self.assertTrue(path.startswith("/api/articles/"))
        got = self.ui.request("GET", path)
        self.assertEqual(self.ui.request("GET", path, headers={"If-None-Match": got.headers["ETag"]}).status, 304)
        self.assertEqual(self.ui.request("HEAD", path).body, b"")
        self.assertEqual(self.ui.request("GET", "/api/articles?q=%26%3D&limit=1&sort=-id").json["items"], [])
        self.assertEqual(self.ui.request("GET", "/api/articles?limit=0").json["field"], "limit")
        self.assertEqual(self.ui.request("DELETE", path).status, 204)
        self.assertIn("through", "".join(self.api.lines()))

    def test_an_api_that_is_not_there_or_answers_nonsense(self):
        port = socket.socket()
        port.bind(("127.0.0.1", 0))
        port.listen(8)
        answers = [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
                   b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"]

        def serve():
            for answer in answers:
                client = port.accept()[0]
                client.recv(65536)
                client.sendall(answer)
                client.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ui = Program(os.path.join(BIN, "smartbiz-ui"), API_URL=f"http://127.0.0.1:{port.getsockname()[1]}")
        self.addCleanup(ui.close)
        codes = [ui.request("GET", "/api/x").status for _ in answers]
        self.assertEqual(codes, [503, 502, 502, 502, 503, 502, 200])
        thread.join()
        port.close()
        reply = ui.request("GET", "/api/x")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))
        self.assertEqual(ui.request("GET", "/").status, 200)
        self.assertEqual(ui.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
