"""A flock of real agents in network namespaces, for the tests beside this file.

Each test program is a unittest of its own and is given the folder of the programs:
    /usr/bin/python3 tests/lab/test_push.py build/debug/bin [TestCase.test_name ...]
The network is that of provisioning/lab.sh under a prefix of this process, so that programs can run
side by side. Nothing waits for a time to pass: conditions are polled, with a bound."""

import atexit
import ctypes
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from control_groups import remove_groups

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "provisioning/lab.sh"
ADDRESS = {"ap": "10.77.0.1", "pi1": "10.77.0.11", "pi2": "10.77.0.12", "pi3": "10.77.0.13",
           "client": "10.77.0.100"}
PORT = 8801
POLL_S = 0.05
WAIT_S = 30  # what a slow and busy machine may need; a healthy one takes a fraction
LIMIT_S = 110  # of a whole program, so that it ends in order before ctest ends it
LOG_LINES = 40

CLUSTER = """\
apiVersion: covey.dev/v1
kind: Cluster
metadata: {name: lab}
spec:
  pool: 10.77.0.210-10.77.0.230
  holdDownSeconds: 5
  nodes:
    - {name: pi1, labels: {disk: ssd}}
    - {name: pi2, labels: {disk: sd}}
"""

VIP = """\
apiVersion: covey.dev/v1
kind: VirtualIP
metadata: {name: front}
spec: {mode: solo}
"""

programs = None  # the folder of agentd, agentctl and the workloads; set by main()


def workload(name, command, kind="Workload", **spec):
    """A document (JSON is YAML)."""
    return json.dumps({"apiVersion": "covey.dev/v1", "kind": kind, "metadata": {"name": name},
                       "spec": {"command": command, **spec}}, indent=1)


def http_workload(name, program="rest-api", port=5000, **spec):
    spec.setdefault("readinessProbe", {"httpGet": {"path": "/ready", "port": "http"},
                                       "periodSeconds": 1, "timeoutSeconds": 2})
    return workload(name, [program], listen="all", ports=[{"name": "http", "port": port}], **spec)


def eventually(condition, what, seconds=WAIT_S):
    """Polls until condition() is true and returns it; what may be a function that tells the state."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


def run(*command, check=True, **options):
    result = subprocess.run([str(word) for word in command], text=True, capture_output=True,
                            **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {result.returncode}:\n"
                             f"{result.stdout}{result.stderr}")
    return result


def lab(function, *arguments, pis=("pi1", "pi2")):
    run("bash", "-c", f'. "$0" && LAB_PIS=({" ".join(pis)}) && "$@"', LAB, function, *arguments)


class Pi:
    """One node: its configuration, its agent and what that says."""

    def __init__(self, flock, name):
        self.flock = flock
        self.name = name
        self.address = ADDRESS[name]
        self.folder = flock.folder / name
        self.state = self.folder / "state"
        self.run = self.folder / "run"
        self.repository = self.state / "flock.git"
        self.config = self.folder / "agent.yaml"
        self.log = self.folder / "agentd.log"
        self.process = None
        self.folder.mkdir()
        self.write_config()

    def write_config(self, extra=""):
        self.config.write_text(f"node: {self.name}\ninterface: wlan0\n"
                               f"state_dir: {self.state}\nrun_dir: {self.run}\n"
                               f"workload_path: {programs}:/usr/bin:/bin\n{extra}")

    def spawn(self, *arguments):
        """agentd in this Pi's network, with other arguments: as start, but for starts that fail."""
        return run(*self.inside(programs / "agentd", *arguments), check=False, timeout=WAIT_S)

    def inside(self, *command):
        return ["nsenter", f"--net=/run/netns/{self.flock.prefix}-{self.name}", "--", *command]

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in self.inside(programs / "agentd", "--config", self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        if not wait:
            return
        eventually(lambda: self.ctl("status").status != 4 or self.process.poll() is not None,
                   lambda: f"agentd of {self.name} does not answer: {self.log_tail(5)}")
        if self.process.poll() is not None:
            raise AssertionError(f"agentd of {self.name} ended: {self.log_tail(5)}")

    def kill(self, number=signal.SIGKILL):
        """Ends the agent alone and returns its exit status; the workloads go on."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def ctl(self, *arguments, **options):
        result = run(programs / "agentctl", "--socket", self.run / "agent.sock", *arguments,
                     check=False, **options)
        result.status = result.returncode
        return result

    def json(self, *arguments):
        """The document that a command prints; {} while there is no answer."""
        result = self.ctl("-o", "json", *arguments)
        return json.loads(result.stdout) if result.stdout.startswith("{") else {}

    def status(self):
        return self.json("status")

    def headline(self):
        return f"{self.name} says: {self.status().get('headline', 'nothing')}"

    def items(self, command):
        return self.json(command).get("items", [])

    def items_of(self, *command):
        return self.json(*command).get("items", [])

    def member(self, name):
        """A node as this one sees it."""
        return next((m for m in self.items("members") if m["name"] == name), None)

    def commit(self):
        own = self.member(self.name)
        return own["commit"] if own else {}

    def app(self, name):
        return next((a for a in self.items("apps") if a["name"] == name), None)

    def instances(self, app=None):
        """Instances on living nodes as this node sees them, by name; of one app or of all."""
        return {i["name"]: i for a in self.items("apps") if app in (None, a["name"])
                for i in a["instances"] if i["nodeAlive"]}

    def vip(self):
        return next(iter(self.items("vip")), {})

    def dropped(self):
        return self.status().get("wire", {}).get("dropped", {})

    def events(self, count=200):
        return [f"{e['severity']} {e['subject']}: {e['text']}"
                for e in self.json("events", "-n", str(count)).get("items", [])]

    def has_event(self, *words):
        return [e for e in self.events() if all(word in e for word in words)]

    def addresses(self):
        """What stands on wlan0."""
        def shown():  # nothing at all when it changed while it was listed
            return json.loads(run("ip", "-n", f"{self.flock.prefix}-{self.name}", "-j", "address",
                                  "show", "dev", "wlan0").stdout)

        link = eventually(shown, f"ip shows no wlan0 on {self.name}")[0]
        return [a["local"] for a in link["addr_info"] if a["family"] == "inet"]

    def processes(self):
        """The processes of workloads as the kernel knows them: a list of (instance, pid)."""
        home = f"HOME={self.state}/instances/".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            instance = next((v[9:] for v in environment if v.startswith(b"INSTANCE=")), None)
            if instance and any(v.startswith(home) for v in environment):
                found[int(folder.name)] = (instance.decode(), int(parent))
        return sorted((name, pid) for pid, (name, parent) in found.items() if parent not in found)

    def log_tail(self, lines=LOG_LINES):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Flock:
    """The network, Pis with running agents, and a working copy of the desired state."""

    names = ("pi1", "pi2")
    configs = {}  # what stands in their agent.yaml besides

    def __init__(self, found=True):
        self.prefix = f"covey-lab-{Path(sys.argv[0]).stem.removeprefix('test_')}-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix="covey-lab-"))
        self.folder.chmod(0o755)  # workloads run as users of their own
        self.desired = self.folder / "desired"
        self.sockets = []
        self.pis = [Pi(self, name) for name in self.names]
        self.pi1, self.pi2 = self.pis[:2]
        for pi in self.pis:
            pi.write_config(self.configs.get(pi.name, ""))
        try:
            lab("lab_up", self.prefix, pis=self.names)
            self.git("init", "-q", "-b", "main", self.desired, folder=self.folder)
            if found:
                self.form()
        except BaseException:
            self.down()
            raise

    def form(self):
        for pi in self.pis:
            pi.start()
        self.must(self.pi1, "init")
        for pi in self.pis[1:]:
            token = self.must(self.pi1, "token", "create").stdout
            self.must(pi, "join", "-", input=token)
        self.settle()

    @staticmethod
    def must(pi, *arguments, **options):
        result = pi.ctl(*arguments, **options)
        if result.status != 0:
            raise AssertionError(f"agentctl {' '.join(arguments)} on {pi.name}: {result.stderr}")
        return result

    def other(self, pi):
        return self.pi2 if pi is self.pi1 else self.pi1

    def settle(self, commit=None, pis=None):
        """Until these Pis (all of them) see both members, the commit applied, and all healthy."""
        wanted = [f"members={len(self.pis)}", "healthy"] + ([f"commit={commit}"] if commit else [])
        for pi in pis or self.pis:
            result = pi.ctl("--timeout", str(WAIT_S), "wait", *wanted)
            if result.status != 0:
                raise AssertionError(f"{pi.name}: {result.stderr}")

    # ---- the desired state ----

    def git(self, *arguments, folder=None, check=True):
        return run("git", "-C", folder or self.desired, "-c", "user.name=lab", "-c",
                   "user.email=lab@covey.invalid", *arguments, check=check,
                   env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"})

    def write(self, files, message="a change"):
        """Commits files (path: text, or None to remove) and returns the commit's id."""
        for path, text in files.items():
            file = self.desired / path
            if text is None:
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD").stdout.strip()

    def push(self, files, to=None, message="a change"):
        """Writes, pushes and returns the commit's id; fails when the push is refused."""
        commit = self.write(files, message)
        result = self.push_head(to)
        if result.returncode != 0:
            raise AssertionError(f"the push was refused: {result.stderr}")
        return commit

    def push_head(self, to=None, *options, reference="HEAD:main"):
        return self.git("push", "-q", *options, (to or self.pi1).repository, reference, check=False)

    def switch_on(self, *apps):
        """Copies apps of the example into the working copy and switches them on as a user would."""
        example = ROOT / "provisioning/example"
        for app in apps:
            shutil.copytree(example / "apps" / app, self.desired / "apps" / app)
        shutil.copy(example / "switch-on.sh", self.desired)
        self.keys = self.folder / "flock.keys"
        self.keys.write_text(self.must(self.pi1, "secret", "keys").stdout)
        self.run_switch_on(*apps)

    def run_switch_on(self, *apps):
        run(self.desired / "switch-on.sh", *apps,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "KEYS": str(self.keys)})

    def apply(self, files, to=None):
        """Pushes and waits until both Pis run it."""
        commit = self.push(files, to)
        self.settle(commit)
        return commit

    # ---- the network ----

    def inside(self, host, *command, check=True, **options):
        return run("ip", "netns", "exec", f"{self.prefix}-{host}", *command, check=check, **options)

    def socket(self, host, *kind):
        """A socket that lives in the network of a host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/ns/net", "rb") as own, \
                open(f"/run/netns/{self.prefix}-{host}", "rb") as there:
            if libc.setns(there.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            try:
                made = socket.socket(*kind)
            finally:
                libc.setns(own.fileno(), 0)
        self.sockets.append(made)
        return made

    def capture(self, pi):
        return Capture(self, pi)

    def cut(self, one=None, others=None):
        """The access point carries nothing between these Pis (pi1 and pi2), but each still reaches
        the gateway."""
        one = one or self.pi1
        rules = ("add table bridge cut\nadd chain bridge cut forward "
                 "{ type filter hook forward priority 0; }\n")
        for other in others or [self.pi2]:
            for a, b in ((one, other), (other, one)):
                rules += (f"add rule bridge cut forward iifname port-{a.name} "
                          f"oifname port-{b.name} drop\n")
        self.inside("ap", "nft", "-f", "-", input=rules)

    def heal(self):
        self.inside("ap", "nft", "delete", "table", "bridge", "cut")

    def owner(self):
        """The Pi that both name as holder of the virtual address."""
        def agreed():
            names = {pi.vip().get("owner") for pi in self.pis}
            return len(names) == 1 and next((pi for pi in self.pis if pi.name in names), None)

        return eventually(agreed, lambda: [pi.vip() for pi in self.pis])

    def pings(self, address, during, after=50):
        """Pings from the client every 20 ms while during() runs, and until more are answered after
        it. Returns how many were sent, and how many were not answered."""
        log = self.folder / "pings"
        with open(log, "wb") as output:
            ping = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.prefix}-client", "ping", "-n", "-i", "0.02",
                 address], stdout=output, stderr=output, start_new_session=True)
        try:
            def answered():
                return log.read_text().count(" icmp_seq=")

            eventually(lambda: answered() > 10, f"{address} does not answer")
            during()
            before = answered()
            eventually(lambda: answered() >= before + after, f"{address} does not answer any more")
        finally:
            ping.send_signal(signal.SIGINT)
            ping.wait(WAIT_S)
        sent, received = re.search(r"(\d+) packets transmitted, (\d+) received",
                                   log.read_text()).groups()
        return int(sent), int(sent) - int(received)

    def down(self):
        for opened in self.sockets:
            opened.close()
        lab("lab_down", self.prefix, pis=self.names)
        for pi in self.pis:
            if pi.process is not None:
                pi.process.wait(WAIT_S)
        shutil.rmtree(self.folder, ignore_errors=True)
        remove_groups(self.folder)


class Three(Flock):
    names = ("pi1", "pi2", "pi3")


class Capture:
    """Every frame on the access point's port of a Pi, both directions, kept by the kernel."""

    BUFFER = 16 << 20

    def __init__(self, flock, pi):
        self.frames = []
        self.socket = flock.socket("ap", socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, self.BUFFER)  # SO_RCVBUFFORCE
        self.socket.bind((f"port-{pi.name}", 3))
        self.socket.setblocking(False)

    def take(self):
        """All frames so far."""
        while True:
            try:
                self.frames.append(self.socket.recv(65536))
            except BlockingIOError:
                return self.frames

    def datagrams(self, source, target):
        """Payloads of the agents' datagrams from one address to another."""
        found = []
        for frame in self.take():
            if len(frame) < 42 or frame[12:14] != b"\x08\x00" or frame[23] != 17:
                continue
            udp = 14 + (frame[14] & 15) * 4
            length = struct.unpack_from("!H", frame, udp + 4)[0]
            if (socket.inet_ntoa(frame[26:30]), socket.inet_ntoa(frame[30:34])) == (source, target) \
                    and struct.unpack_from("!H", frame, udp + 2)[0] == PORT:
                found.append(frame[udp + 8:udp + length])
        return found


class FlockTest(unittest.TestCase):
    """Tests that share one flock. The end of the agents' logs is shown when one of them fails."""

    make = Flock
    found = True  # whether the two Pis are a flock already

    @classmethod
    def setUpClass(cls):
        cls.flock = cls.make(cls.found)
        cls.addClassCleanup(cls.flock.down)
        cls.pi1, cls.pi2 = cls.flock.pis[:2]
        cls.prepare()

    @classmethod
    def prepare(cls):
        """Once, before the tests."""

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) == before:
            return
        for pi in self.flock.pis:
            if pi.log.exists():
                print(f"---- {pi.name}, {self.id()}\n{pi.log_tail()}", file=sys.stderr)


def for_every_user(folder):
    """@folder, or a copy of it if only root gets there (a clone in /root): workloads run as users of
    their own, who have to reach their programs."""
    if all(path.stat().st_mode & 0o001 for path in [folder, *folder.parents]):
        return folder
    copy = Path(tempfile.mkdtemp(prefix="covey-programs-"))
    atexit.register(shutil.rmtree, copy)
    shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
    copy.chmod(0o755)
    return copy


def out_of_time(_number, _frame):
    raise TimeoutError(f"the tests take longer than {LIMIT_S} s")


def main():
    global programs
    if len(sys.argv) < 2 or not Path(sys.argv[1], "agentd").exists():
        sys.exit(f"usage: {sys.argv[0]} FOLDER-OF-PROGRAMS [TESTS]")
    programs = for_every_user(Path(sys.argv[1]).resolve())
    lab("lab_possible")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(LIMIT_S)
    unittest.main(argv=[sys.argv[0], "-v", "-f", *sys.argv[2:]])
