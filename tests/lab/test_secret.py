"""Sealed secrets: who can open them, and where their values are not found."""

import base64
import hashlib
import http.client
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import flock
from flock import eventually, run, workload

USER = """apiVersion: covey.dev/v1
kind: Workload
metadata: {name: user}
spec:
  command: [sh, -c, 'printf %s "$PASSWORD" | sha256sum; sha256sum < $CONFIG_DIR/conf; exec sleep 1d']
  env:
    - {name: PASSWORD, value: "${secret:db/password}"}
  files:
    - {path: conf, content: "${secret:db/password} ${secret:db/name}"}
"""


class Flock(flock.Flock):
    """Its run folders lie on a tmpfs, as /run does."""

    def form(self):
        self.memory = Path(tempfile.mkdtemp(prefix="covey-lab-", dir="/dev/shm"))
        self.memory.chmod(0o755)
        for pi in self.pis:
            pi.run = self.memory / pi.name
            pi.write_config()
        super().form()

    def down(self):
        super().down()
        shutil.rmtree(self.memory, ignore_errors=True)
        flock.remove_groups(self.memory)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


class Secret(flock.FlockTest):
    make = Flock

    @classmethod
    def prepare(cls):
        cls.password = "pw-" + secrets.token_hex(24)
        cls.name = "name-" + secrets.token_hex(24)
        cls.file = cls.flock.desired / "apps/db/secret.yaml"
        cls.keys = cls.flock.folder / "flock.keys"
        cls.keys.write_text(cls.flock.must(cls.pi1, "secret", "keys").stdout)
        plain = cls.flock.folder / "name"
        plain.write_text(cls.name)
        sealed = cls.flock.must(cls.pi1, "secret", "seal", "db", "password", "--from-file",
                                f"name={plain}", input=cls.password + "\n").stdout
        plain.unlink()
        cls.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/db/secret.yaml": sealed,
                         "apps/db/user.yaml": USER})

    def user(self):
        return eventually(lambda: next((i for i in self.pi1.instances("user").values()
                                        if i["state"] == "ready"), None),
                          lambda: self.pi1.instances("user"))

    def pi_of(self, instance):
        return next(pi for pi in self.flock.pis if pi.name == instance["node"])

    def test_1_the_workload_sees_it_and_nobody_else(self):
        instance = self.user()
        for wanted in (digest(self.password), digest(f"{self.password} {self.name}")):
            eventually(lambda: wanted in self.pi1.ctl("logs", "user").stdout,
                       lambda: self.pi1.ctl("logs", "user").stdout)
        file = self.pi_of(instance).run / "files/user.0/conf"
        self.assertEqual(file.stat().st_mode & 0o777, 0o440)
        self.nothing_is_found()

    def nothing_is_found(self):
        words = [w.encode() for plain in (self.password, self.name)
                 for w in (plain, base64.b64encode(plain.encode()).decode()[:-4], plain.encode().hex())]
        places = {}
        for pi in self.flock.pis:
            for path in [*pi.state.rglob("*"), *pi.folder.glob("*.log")]:
                if path.is_file():
                    places[str(path)] = path.read_bytes()
            for path in pi.run.rglob("*"):  # the rendered file alone may hold it, on a tmpfs
                if path.is_file() and "files/user.0" not in str(path):
                    places[str(path)] = path.read_bytes()
            places[f"git of {pi.name}"] = subprocess.run(
                ["git", "-C", pi.repository, "cat-file", "--batch", "--batch-all-objects"],
                capture_output=True, check=True).stdout
            places.update(self.answers(pi))
            for command in (["get"], ["get", "sealedsecret", "db"], ["events"], ["history"],
                            ["apps", "user"], ["diff", self.flock.desired], ["explain"],
                            ["logs", "user"], ["secret", "keys"]):
                places[f"{pi.name}: {command}"] = pi.ctl("-o", "json", *command).stdout.encode()
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    places[f"argv of {folder.name}"] = (folder / "cmdline").read_bytes()
                except OSError:
                    pass
        self.assertGreater(len(places), 40)
        for place, content in places.items():
            for word in words:
                self.assertNotIn(word, content, place)

    def answers(self, pi):
        """What the control socket and the page say."""
        found = {}
        routes = re.findall(r'\{"GET", "(/v1/[a-z/]+)"',
                            (flock.ROOT / "agent/daemon/agent_api.c").read_text())
        self.assertIn("/v1/objects", routes)
        for route in [*routes, "/v1/logs?name=user"]:
            connection = http.client.HTTPConnection("agent", timeout=flock.WAIT_S)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(pi.run / "agent.sock"))
            connection.request("GET", route)
            found[f"{pi.name} {route}"] = connection.getresponse().read()
            connection.close()
        for path in ("/", "/v1/status", "/metrics"):
            found[f"page of {pi.name} {path}"] = self.flock.inside(
                pi.name, "curl", "-sf", f"http://{pi.address}:8800{path}").stdout.encode()
        return found

    def test_2_sealed_anew(self):
        before = self.user()
        more = self.flock.must(self.pi1, "secret", "rotate", "--all", "--keep-values", self.file)
        self.assertIn("2 nodes", more.stdout)
        self.flock.settle(self.flock.push({}))
        self.assertEqual(self.user()["pid"], before["pid"])  # only the nodes were sealed to anew
        old = self.file.read_text()
        self.flock.must(self.pi2, "secret", "rotate", self.file)
        self.assertNotEqual(self.file.read_text(), old)
        self.flock.settle(self.flock.push({}))
        eventually(lambda: self.user()["pid"] != before["pid"], self.user)
        log = self.pi_of(self.user()).state / "logs/user.0/log"
        eventually(lambda: log.read_text().count(digest(self.password)) == 2, log.read_text)
        self.nothing_is_found()

    def test_3_sealed_without_an_agent_to_one_node(self):
        sealed = run(flock.programs / "agentctl", "--socket", "/nowhere", "secret", "seal", "one",
                     "key", "--keys", self.keys, "--node", "pi2", input=self.password).stdout
        self.assertNotIn("pi1", sealed)
        program = workload("one", ["sh", "-c", 'printf %s "$KEY" | sha256sum; exec sleep 1d'],
                           env=[{"name": "KEY", "value": "${secret:one/key}"}], replicas=2)
        self.flock.push({"apps/one/secret.yaml": sealed, "apps/one/one.yaml": program})
        eventually(lambda: len([i for i in self.pi1.instances("one").values()
                                if i["state"] == "ready"]) == 2, self.pi1.events)
        self.assertEqual({i["node"] for i in self.pi1.instances("one").values()}, {"pi2"})
        eventually(lambda: digest(self.password) in self.pi2.ctl("logs", "one.0").stdout,
                   lambda: self.pi2.ctl("logs", "one.0").stdout)
        # Who cannot open it cannot seal it anew either.
        refused = self.pi1.ctl("secret", "rotate", self.flock.desired / "apps/one/secret.yaml")
        self.assertEqual(refused.status, 5, refused.stderr)

    def test_4_a_value_moved_elsewhere_does_not_open(self):
        moved = self.file.read_text().replace('name: "db"', 'name: "mine"')
        self.flock.push({"apps/mine/secret.yaml": moved, "apps/mine/mine.yaml": workload(
            "mine", ["sleep", "1d"], env=[{"name": "A", "value": "${secret:mine/password}"}])})
        event = eventually(lambda: next(iter(self.pi1.has_event("mine.0", "does not open") +
                                             self.pi2.has_event("mine.0", "does not open")), None),
                           lambda: self.pi1.events() + self.pi2.events())
        self.assertIn("apps/mine/secret.yaml", event)
        self.flock.apply({"apps/mine/secret.yaml": None, "apps/mine/mine.yaml": None})

    def test_5_no_value_as_an_argument(self):
        wrong = self.pi1.ctl("secret", "seal", "db", "password=hunter2")
        self.assertEqual(wrong.status, 2)
        self.assertNotIn("hunter2", wrong.stderr)


if __name__ == "__main__":
    flock.main()
