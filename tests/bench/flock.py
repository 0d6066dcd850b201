"""A flock of two Pis in network namespaces, for benchmarks: provisioning/lab.sh makes the network,
this starts the agents, asks them and kills them."""

import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from control_groups import remove_groups

LAB = os.path.join(ROOT, "provisioning", "lab.sh")
PIS = ("pi1", "pi2")
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """What the benchmark stands on does not work; the text says what was seen."""


def await_true(seconds, what, condition, pause=0.05):
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (OSError, http.client.HTTPException):  # an agent that does not answer yet
            value = None
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for {what}")
        time.sleep(pause)


def tmpfs_folder():
    """Where /run would be: what lives there never reaches a disk."""
    for folder in ("/run", "/dev/shm"):
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True)
        if kind.stdout.strip() == "tmpfs" and os.access(folder, os.W_OK):
            return folder
    raise Failed("neither /run nor /dev/shm is a tmpfs")


class Lab:
    """The network: an access point, pi1, pi2 and a client."""

    def __init__(self, prefix, pis=PIS):
        self.prefix = prefix
        self.pis = pis

    def call(self, function, *arguments):
        script = f'. "$0"; LAB_PIS=({" ".join(self.pis)}); "$@"'
        subprocess.run(
            ["bash", "-c", script, LAB, function, self.prefix, *arguments], check=True
        )

    @staticmethod
    def address(host):
        lab = ["bash", "-c", '. "$0"; lab_address "$1"', LAB, host]
        return subprocess.run(lab, check=True, capture_output=True, text=True).stdout.strip()

    def command(self, host, *arguments):
        return ["nsenter", f"--net=/run/netns/{self.prefix}-{host}", "--", *arguments]

    def start(self, host, *arguments, **options):
        return subprocess.Popen(
            self.command(host, *arguments),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )

    def run(self, host, *arguments, **options):
        return subprocess.run(
            self.command(host, *arguments), check=True, capture_output=True, text=True, **options
        ).stdout


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Pi:
    """One Pi: its agent's configuration, process and API."""

    def __init__(self, flock, name):
        self.lab = flock.lab
        self.bin = flock.bin
        self.name = name
        self.disk = os.path.join(flock.disk, name)
        self.run_dir = os.path.join(flock.memory, name)
        self.process = None
        os.mkdir(self.disk)
        with open(os.path.join(self.disk, "agent.yaml"), "w", encoding="utf-8") as config:
            config.write(
                f"node: {name}\ninterface: wlan0\n"
                f"state_dir: {self.disk}/state\nrun_dir: {self.run_dir}\n"
                f"workload_path: {self.bin}:/usr/bin:/bin\n{flock.config}"
            )

    def start_agent(self):
        self.spawn()
        await_true(60, f"the agent of {self.name}", self.answers)

    def spawn(self):
        with open(os.path.join(self.disk, "agentd.log"), "ab") as log:
            self.process = self.lab.start(
                self.name,
                os.path.join(self.bin, "agentd"),
                "--config",
                os.path.join(self.disk, "agent.yaml"),
                stdout=log,
                stderr=log,
            )

    def answers(self):
        if self.process.poll() is not None:
            raise Failed(f"agentd of {self.name} has ended: see {self.disk}/agentd.log")
        try:
            return self.get("/v1/status")
        except OSError:
            return None

    def kill_agent(self):
        self.process.kill()
        self.process.wait()

    def cut_power(self):
        self.lab.call("lab_host_down", self.name)
        self.process.wait()

    def boot(self):
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.lab.call("lab_host_up", self.name)
        self.start_agent()

    def get(self, path):
        connection = UnixConnection(os.path.join(self.run_dir, "agent.sock"))
        try:
            connection.request("GET", path)
            return json.load(connection.getresponse())
        finally:
            connection.close()

    def agentctl(self, *arguments, **options):
        answer = subprocess.run(
            [os.path.join(self.bin, "agentctl"), "--socket", f"{self.run_dir}/agent.sock"]
            + list(arguments),
            capture_output=True,
            text=True,
            **options,
        )
        if answer.returncode != 0:
            raise Failed(f"agentctl {' '.join(arguments)} on {self.name}: {answer.stderr}")
        return answer.stdout

    def own_commit(self):
        for node in self.get("/v1/status")["nodes"]:
            if node["self"]:
                return node["commit"]["commit"]
        return ""

    def own_instances(self, workload, status=None):
        status = status or self.get("/v1/status")
        for app in status["apps"]:
            if app["name"] == workload:
                return [i for i in app["instances"] if i["node"] == self.name]
        return []


class Flock:
    """Two Pis. Use it in a with statement: leaving it removes all that it made. One flock of a name
    at a time; entering it removes the namespaces of one that could not end in order."""

    def __init__(self, name, build, keep=False, pis=PIS, lab=None, config=""):
        self.names = pis
        self.config = config
        self.lock = open(os.path.join("/run/lock", f"covey-{name}"), "w", encoding="ascii")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed(f"another {name} runs on this machine: wait for its end") from None
        self.bin = os.path.join(os.path.abspath(build), "bin")
        self.keep = keep
        self.lab = lab or Lab(f"covey-{name}", pis)
        self.disk = tempfile.mkdtemp(prefix=f"covey-{name}.", dir="/var/tmp")
        self.memory = tempfile.mkdtemp(prefix=f"covey-{name}.", dir=tmpfs_folder())
        for folder in (self.disk, self.memory):
            os.chmod(folder, 0o755)  # workloads run as users of their own
        self.work = os.path.join(self.disk, "desired")
        self.pis = {}

    def __enter__(self):
        try:
            self.lab.call("lab_possible")
            self.lab.call("lab_down")
            self.lab.call("lab_up")
            for name in self.names:
                self.pis[name] = Pi(self, name)
                self.pis[name].start_agent()
            self.join()
        except BaseException as failure:
            self.close(failed=not isinstance(failure, KeyboardInterrupt))
            raise
        return self

    def __exit__(self, kind, value, traceback):
        self.close(failed=kind is not None and kind is not KeyboardInterrupt)

    def close(self, failed):
        # A second Ctrl-C must not leave namespaces behind. What is started later must not inherit that.
        before = {number: signal.signal(number, signal.SIG_IGN)
                  for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self.lab.call("lab_down")
        remove_groups(self.memory)
        shutil.rmtree(self.memory, ignore_errors=True)
        if self.keep or failed:
            print(f"logs and states are kept: {self.disk}")
        else:
            shutil.rmtree(self.disk, ignore_errors=True)
        for number, handler in before.items():
            signal.signal(number, handler)

    def join(self):
        first = self.pis[self.names[0]]
        first.agentctl("init")
        for name in self.names[1:]:
            self.pis[name].agentctl("join", "-", input=first.agentctl("token", "create"))
        await_true(30, "all members to be alive", lambda: all(map(self.sees_all, self.names)))

    def sees_all(self, name):
        nodes = self.pis[name].get("/v1/status")["nodes"]
        return sum(node["state"] == "alive" for node in nodes) == len(self.names)

    def healthy(self):
        for pi in self.pis.values():
            status = pi.get("/v1/status")
            if status["health"] != "ok" or not status["agreed"] or not self.sees_all(pi.name):
                return False
        return True

    # ---- the desired state ----

    def git(self, *arguments):
        environment = dict(os.environ, GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_NOSYSTEM="1")
        user = ["-c", "user.name=bench", "-c", "user.email=bench@covey.invalid"]
        answer = subprocess.run(
            ["git", "-C", self.work, *user, *arguments],
            capture_output=True,
            text=True,
            env=environment,
        )
        if answer.returncode != 0:
            raise Failed(f"git {' '.join(arguments)}: {answer.stderr}")
        return answer.stdout.strip()

    def clone(self):
        os.makedirs(self.work, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "pi1", os.path.join(self.pis["pi1"].disk, "state", "flock.git"))

    def write(self, path, text):
        path = os.path.join(self.work, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def push_example(self, without=()):
        shutil.copytree(os.path.join(ROOT, "provisioning", "example"), self.work)
        for path in without:
            os.remove(os.path.join(self.work, path))
        self.clone()
        self.commit("the example")
        self.push()
        await_true(45, "the example to be healthy on both Pis", self.healthy)

    def set_env(self, path, name, value):
        """Sets a variable of the workload in this file, the first one of its list."""
        path = os.path.join(self.work, path)
        with open(path, encoding="utf-8") as file:
            text = re.sub(rf"    - name: {name}\n      value: .*\n", "", file.read())
        text = text.replace("  env:\n", f"  env:\n    - name: {name}\n      value: {value}\n", 1)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def commit(self, subject):
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)

    def push(self):
        self.git("push", "-q", "pi1", "HEAD:main")

    def vip(self):
        """The one virtual address and its owner as both Pis see them; None if they differ."""
        seen = {
            (vip["address"], vip["owner"])
            for pi in self.pis.values()
            for vip in pi.get("/v1/status")["vips"]
        }
        address, owner = seen.pop() if len(seen) == 1 else (None, None)
        return (address, owner) if owner else None


# ---- what the kernel says of a process ----


def cpu_seconds(pid):
    """User and system time, of its ended children too."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def memory_kib(pid, name="VmRSS"):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"{name}:\s+(\d+)", file.read()).group(1))


def written_bytes(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return int(re.search(r"^write_bytes: (\d+)", file.read(), re.M).group(1))
