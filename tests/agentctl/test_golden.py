#!/usr/bin/env python3
"""What agentctl prints, its JSON and its tables, against the files in golden/.

    test_golden.py AGENTCTL              compares
    test_golden.py AGENTCTL --write      writes the files anew: look at the difference

The program is the real one. In the agent's place a socket answers with documents that agentd's own
code has made: ../unit/golden, held by test_state_json and test_status_json. Their times are moved to
now, so that an age is the same each time.
"""
import datetime
import difflib
import json
import os
import pathlib
import pty
import re
import socketserver
import subprocess
import sys
import tempfile
import termios
import threading
import unittest

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE / "golden"
API = HERE.parent / "unit/golden"
THEN = datetime.datetime(2026, 11, 22, 17, 2, 42)  # STATUS_FIXTURE_NOW
TIME = re.compile(r'"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ)"')

program = None
write = False


def files_of(folder, commit):
    files = {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.yaml"))}
    return {"apiVersion": "covey.dev/v1", "kind": "Files", "commit": commit, "files": files}


def answer(path):
    """The document that agentd would give; None: there is none."""
    if path.startswith("/v1/files"):
        branch = "rev=" in path
        return files_of(HERE / ("state" if branch else "before"), ("2" if branch else "1") * 40)
    name = {"/v1/objects": "objects", "/v1/history": "history", "/v1/apps": "apps",
            "/v1/vips": "vips"}.get(path)
    return json.loads((API / f"{name}.json").read_text()) if name is not None else None


def moved(text):
    """Ages are counted from now. A minute for each second and half a minute more, so that no tick of
    the clock changes what is printed."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)

    def shift(match):
        ago = THEN - datetime.datetime.strptime(match.group(1), "%Y-%m-%dT%H:%M:%SZ")
        then = now - 60 * ago - datetime.timedelta(seconds=30)
        return f'"{then.strftime("%Y-%m-%dT%H:%M:%SZ")}"'
    return TIME.sub(shift, text)


class Agent(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    move = True


class Request(socketserver.StreamRequestHandler):
    def handle(self):
        path = self.rfile.readline().decode().split()[1]
        while self.rfile.readline().strip():
            pass
        document = answer(path)
        text = json.dumps(document) if document is not None else f"there is no {path}\n"
        if self.server.move:
            text = moved(text)
        kind = "application/json" if document is not None else "text/plain"
        body = text.encode()
        self.wfile.write(f"HTTP/1.1 {200 if document is not None else 404} -\r\nContent-Type: {kind}\r\n"
                         f"Content-Length: {len(body)}\r\n\r\n".encode() + body)


class Golden(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.agent = Agent(os.path.join(cls.folder.name, "agent.sock"), Request)
        threading.Thread(target=cls.agent.serve_forever, args=(0.02,), daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.agent.shutdown()
        cls.agent.server_close()
        cls.folder.cleanup()

    def run_program(self, *arguments, moved_times=True):
        self.agent.move = moved_times
        return subprocess.run([program, "--socket", self.agent.server_address, *arguments], cwd=HERE,
                              capture_output=True, text=True, timeout=60,
                              env={**os.environ, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"})

    def terminal(self, columns, *arguments):
        """What it prints on a terminal of @columns; no line may be wider than 80 on one of 80."""
        ours, its = pty.openpty()
        termios.tcsetwinsize(its, (24, columns))
        self.agent.move = True
        with subprocess.Popen([program, "--socket", self.agent.server_address, *arguments], cwd=HERE,
                              stdout=its, env={**os.environ, "NO_COLOR": "1"}) as process:
            os.close(its)
            text = b""
            try:
                while part := os.read(ours, 65536):
                    text += part
            except OSError:  # EIO: the program has ended
                pass
            os.close(ours)
        self.assertEqual(process.returncode, 0)
        text = text.decode().replace("\r\n", "\n")
        if columns == 80:
            self.assertEqual([line for line in text.splitlines() if len(line) > columns], [])
        return text

    def compare(self, name, text):
        path = GOLDEN / name
        if write:
            path.write_text(text)
        wanted = path.read_text() if path.exists() else ""
        if text != wanted:
            self.fail("\n" + "".join(difflib.unified_diff(
                wanted.splitlines(True), text.splitlines(True), f"golden/{name}", "agentctl")))

    def check(self, name, *arguments, status=0):
        """The table NAME.txt and the JSON NAME.json."""
        table = self.run_program(*arguments)
        self.assertEqual(table.returncode, status, table.stderr)
        self.compare(f"{name}.txt", table.stdout + table.stderr)
        document = self.run_program("-o", "json", *arguments, moved_times=False)
        self.assertEqual(document.returncode, status, document.stderr)
        self.assertEqual(document.stderr, "")
        self.compare(f"{name}.json", document.stdout)

    def passed_on(self, name, *arguments):
        """agentctl -o json adds and drops nothing of what the agent says."""
        document = self.run_program("-o", "json", *arguments, moved_times=False)
        self.assertEqual(document.stdout, (API / f"{name}.json").read_text())

    def test_get(self):
        table = self.run_program("get")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.compare("get.txt", table.stdout)
        self.passed_on("objects", "get")

    def test_history(self):
        table = self.run_program("history")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.compare("history.txt", table.stdout)
        self.passed_on("history", "history")

    def test_apps(self):
        table = self.run_program("apps")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.compare("apps.txt", table.stdout)
        self.passed_on("apps", "apps")

    def test_vip(self):
        """The holder, epoch, what is left of the lease, the last change and why, and who refused."""
        table = self.run_program("vip")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.compare("vip.txt", table.stdout)
        self.passed_on("vips", "vip")

    def test_diff(self):
        self.check("diff", "diff", status=1)
        self.check("diff-folder", "diff", "state", status=1)
        self.check("diff-same", "diff", "before")

    def test_explain(self):
        self.check("explain", "explain")
        self.check("explain-workload", "explain", "Workload.spec")
        self.check("explain-probe", "explain", "Workload.spec.readinessProbe")
        self.check("explain-field", "explain", "CronWorkload.spec.concurrencyPolicy")

    def test_what_is_not_there(self):
        said = []
        for path in ("Workload.replica", "Workload.spec.ports.nme", "Workloads", "Deployment",
                     "Workload.spec.replicas.x", "Workload.colour"):
            result = self.run_program("explain", path)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            said.append(f"$ agentctl explain {path}\n{result.stderr}")
        self.compare("explain-unknown.txt", "".join(said))

    def test_a_terminal(self):
        """Where a terminal ends, the last column goes on below itself."""
        self.compare("explain-terminal.txt", self.terminal(80, "explain", "Workload.spec"))
        self.compare("get-terminal.txt", self.terminal(80, "get"))
        self.assertEqual(self.terminal(40, "get"), self.terminal(300, "get"))  # there is no room

    def test_validate(self):
        self.check("validate", "validate", "state")
        for name in ("unknown", "cycle", "type", "twice"):
            self.check(f"validate-{name}", "validate", f"wrong/{name}", status=1)


if __name__ == "__main__":
    program = os.path.abspath(sys.argv[1])
    write = "--write" in sys.argv[2:]
    unittest.main(argv=sys.argv[:1])
