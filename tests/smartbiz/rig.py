"""A PostgreSQL of one's own and the programs of SmartBiz on it, for tests and benchmarks. Everything
listens on loopback or a socket in a temporary folder, and ends with the test."""
import glob
import http.client
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BOUND = 30  # seconds to wait for what must come


def until(condition, what, bound=BOUND):
    """Polls @condition until it is true and returns its value."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"gave up waiting for {what}")
        time.sleep(0.02)


class Postgres:
    """A server with a new cluster in a temporary folder; it does not run as root."""

    def __init__(self, settings=()):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda p: int(p.split("/")[4]))
        if not found:
            raise SystemExit("PostgreSQL is missing: apt-get install postgresql")
        self.programs = found[-1]
        self.folder = tempfile.mkdtemp(prefix="covey-pg-")
        self.data = os.path.join(self.folder, "data")
        self.user = None
        if os.geteuid() == 0:
            self.user = "postgres"
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        self.program("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                     "--locale=C.UTF-8", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n")
            file.write("max_connections = 60\nlog_min_messages = fatal\n")
            file.writelines(line + "\n" for line in settings)
        self.start()
        self.sql("CREATE ROLE smartbiz LOGIN", user="postgres", database="postgres")
        self.sql("CREATE DATABASE smartbiz OWNER smartbiz", user="postgres", database="postgres")

    def words(self, name, *arguments):
        command = [os.path.join(self.programs, name), *arguments]
        return command if self.user is None else ["runuser", "-u", self.user, "--", *command]

    def program(self, name, *arguments, check=True):
        return subprocess.run(self.words(name, *arguments), check=check, capture_output=True, text=True, cwd="/")

    def control(self, action):
        return ("pg_ctl", "-D", self.data, "-l", os.path.join(self.folder, "log"), "-m", "fast", "-w", action)

    def command(self, action):
        """What a shell runs to start or stop it."""
        return "cd / && " + shlex.join(self.words(*self.control(action)))

    def start(self):
        self.program("pg_ctl", "-D", self.data, "-l", os.path.join(self.folder, "log"), "-w", "start")

    def stop(self, mode="fast"):
        self.program("pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    def url(self, database="smartbiz"):
        return f"postgresql://smartbiz@/{database}?host={self.folder}"

    def sql(self, text, user="smartbiz", database="smartbiz"):
        """Rows of one statement, or of several the last's, as lists of texts."""
        done = subprocess.run(
            ["psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", user, "-d", database],
            input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return [line.split("|") for line in done.stdout.splitlines()]

    def close(self):
        self.program("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Program:
    """One of the programs on a port that the kernel chose, or on @port."""

    def __init__(self, path, port=0, **environment):
        self.path = path
        # The program appends by a descriptor of its own: the place where we read is not its place.
        self.log = tempfile.NamedTemporaryFile("rb")
        with open(self.log.name, "ab") as log:
            self.process = subprocess.Popen(
                [path], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port), **environment})
        self.port = until(self.started, f"{os.path.basename(path)} to start")

    def lines(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace").splitlines()

    def started(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.path} ended: {self.lines()}")
        for line in self.lines():
            if '"message":"started"' in line:
                return json.loads(line)["port"]
        return None

    def request(self, method, path, body=None, headers=None, timeout=BOUND):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = dict(headers or {})
            if isinstance(body, (dict, list)):
                headers.setdefault("Content-Type", "application/json")
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode()
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def ready(self):
        try:
            return self.request("GET", "/ready").status == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(BOUND)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.log.close()


class Api(Program):
    """smartbiz-api. Every reply is held against its own description in openapi.json."""

    def __init__(self, bin_folder, postgres, port=0, **environment):
        super().__init__(os.path.join(bin_folder, "smartbiz-api"), port,
                         DATABASE_URL=postgres.url(), **environment)
        until(self.ready, "the API to be ready")
        self.description = None

    def call(self, method, path, body=None, headers=None, status=None):
        reply = self.request(method, path, body, headers)
        if self.description is None:
            self.description = Description(self.request("GET", "/openapi.json").json)
        self.description.check(method, path, reply)
        if status is not None and reply.status != status:
            raise AssertionError(f"{method} {path}: expected {status}, got {reply}")
        return reply


class Description:
    """An OpenAPI document, to hold replies against."""

    def __init__(self, document):
        import jsonschema
        self.document = document
        self.resolver = jsonschema.RefResolver.from_schema(document)
        self.draft = jsonschema.Draft202012Validator
        self.patterns = []
        for path in document["paths"]:
            pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))
            self.patterns.append((re.compile(pattern + "$"), path))
        # /articles/import before /articles/{id}
        self.patterns.sort(key=lambda entry: "{" in entry[1])

    def resolve(self, item):
        while "$ref" in item:
            item = self.resolver.resolve(item["$ref"])[1]
        return item

    def check(self, method, path, reply):
        """Raises when a reply is not what the document says. What has no route is not described."""
        path = urllib.parse.urlsplit(path).path
        for pattern, template in self.patterns:
            operation = self.document["paths"][template].get(method.lower())
            if operation is not None and pattern.match(path):
                break
        else:
            return
        where = f"{method} {template} {reply.status}"
        if reply.status in (405, 414, 431):  # said by the server before any operation is known
            return
        if str(reply.status) not in operation["responses"]:
            raise AssertionError(f"{where} is not described: {reply}")
        response = self.resolve(operation["responses"][str(reply.status)])
        content = response.get("content")
        if content is None:
            if reply.body:
                raise AssertionError(f"{where} has a body: {reply}")
            return
        kind = reply.headers["Content-Type"].split(";")[0]
        if kind not in content:
            raise AssertionError(f"{where} has the type {kind}: {reply}")
        if kind.endswith("json"):
            self.draft(content[kind]["schema"], resolver=self.resolver).validate(reply.json)
