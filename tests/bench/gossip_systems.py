"""What tests/bench/gossip measures: a network of namespaces, and the two systems in it."""

import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from flock import Failed, UnixConnection, await_true, memory_kib, tmpfs_folder

SERF_PORT = 7946
AGENT_PORT = 8801
NEIGHBOURS = 65536  # the kernel's neighbour table is one for all namespaces
RULES = """
table inet bench {{
    counter covey {{ }}
    counter serf {{ }}
    chain out {{
        type filter hook output priority 300
        udp sport {agent} counter name covey
        tcp sport {agent} counter name covey
        tcp dport {agent} counter name covey
        udp sport {serf} counter name serf
        tcp sport {serf} counter name serf
        tcp dport {serf} counter name serf
    }}
}}
"""
SETTLE_S = 40  # at most
LOOK_S = 5
ALIKE = 0.15
ETHERNET = 14  # of a frame; nftables counts from the IP header on


def say(text):
    print(f"==> {text}", flush=True)


def sh(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Net:
    """A bridge and its hosts, each a namespace."""

    def __init__(self, count):
        self.prefix = f"covey-gossip{os.getpid()}"
        self.count = count
        self.limits = {}

    def name(self, host):
        return f"{self.prefix}-{host}"

    def address(self, host):
        return f"10.98.{host // 250}.{host % 250 + 1}"

    def up(self):
        for step, value in ((3, NEIGHBOURS), (2, NEIGHBOURS), (1, NEIGHBOURS)):
            path = f"/proc/sys/net/ipv4/neigh/default/gc_thresh{step}"
            with open(path, encoding="ascii") as file:
                self.limits[path] = file.read()
            with open(path, "w", encoding="ascii") as file:
                file.write(str(value))
        sh("ip", "netns", "add", self.name("ap"))
        sh("ip", "-n", self.name("ap"), "link", "add", "br0", "type", "bridge", "forward_delay",
           "0", "mcast_snooping", "0")
        sh("ip", "-n", self.name("ap"), "link", "set", "br0", "up")
        for host in range(1, self.count + 1):
            inside = self.name(host)
            sh("ip", "netns", "add", inside)
            sh("ip", "-n", inside, "link", "set", "lo", "up")
            sh("ip", "-n", inside, "link", "add", "wlan0", "type", "veth", "peer", "name",
               f"port{host}", "netns", self.name("ap"))
            sh("ip", "-n", self.name("ap"), "link", "set", f"port{host}", "master", "br0", "up")
            sh("ip", "-n", inside, "address", "add", f"{self.address(host)}/16", "dev", "wlan0")
            sh("ip", "-n", inside, "link", "set", "wlan0", "up")
            sh("ip", "netns", "exec", inside, "nft", "-f", "-",
               input=RULES.format(agent=AGENT_PORT, serf=SERF_PORT))

    def loss(self, percent):
        rules = "table bridge bench { }\ndelete table bridge bench\n"
        if percent > 0:
            rules += ("table bridge bench {\n chain forward {\n  type filter hook forward priority 0\n"
                      f"  numgen random mod 1000 < {int(percent * 10)} drop\n }}\n}}\n")
        sh("ip", "netns", "exec", self.name("ap"), "nft", "-f", "-", input=rules)

    def command(self, host, *arguments):
        return ["ip", "netns", "exec", self.name(host), *arguments]

    def sent(self, host):
        """Bytes and packets that each system has sent, Ethernet headers included."""
        answer = json.loads(sh(*self.command(host, "nft", "-j", "list", "counters")))
        counters = [item["counter"] for item in answer["nftables"] if "counter" in item]
        return {c["name"]: c["bytes"] + ETHERNET * c["packets"] for c in counters}

    def down(self):
        for host in ("ap", *range(1, self.count + 1)):
            subprocess.run(["ip", "netns", "del", self.name(host)], capture_output=True)
        for path, value in self.limits.items():
            with open(path, "w", encoding="ascii") as file:
                file.write(value)


class System:
    """One of the two: N processes, and what each says of the others, by the time it said it."""

    def __init__(self, net, folder):
        self.net = net
        self.folder = folder
        self.processes = {}
        self.logs = {}

    def spawn(self, host, *command):
        path = os.path.join(self.folder, f"{self.label}-{host}.log")
        self.logs[host] = path
        with open(path, "ab") as log:
            self.processes[host] = subprocess.Popen(
                self.net.command(host, *command), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)

    def kill(self, host):
        process = self.processes.pop(host)
        process.kill()
        process.wait()
        return time.time()

    def stop(self):
        for host in list(self.processes):
            self.kill(host)

    def lines(self, host, offset):
        with open(self.logs[host], "rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace").splitlines()

    def offsets(self):
        return {host: os.path.getsize(path) for host, path in self.logs.items()}

    def deaths(self, offsets, victim=None):
        """(observer, time) for each line that calls @victim, or anybody, dead."""
        found = []
        for host in self.processes:
            for line in self.lines(host, offsets.get(host, 0)):
                at = self.death(line, victim)
                if at is not None:
                    found.append((host, at))
        return found

    def memory_mib(self):
        return statistics.mean(memory_kib(p.pid) / 1024 for p in self.processes.values())


class Serf(System):
    """On all hosts, or on these."""

    label = "serf"

    def __init__(self, net, folder, hosts=None):
        super().__init__(net, folder)
        self.hosts = hosts or range(1, net.count + 1)

    def start_all(self):
        self.key = base64.b64encode(os.urandom(32)).decode()
        for host in self.hosts:
            self.start(host)

    def start(self, host):
        joins = [f"-retry-join={self.net.address(other)}" for other in self.hosts[:3]
                 if other != host]
        self.spawn(host, "serf", "agent", f"-node=n{host}", f"-bind={self.net.address(host)}",
                   "-rpc-addr=127.0.0.1:7373", f"-encrypt={self.key}", "-log-level=info",
                   "-retry-interval=1s", *joins)

    def complete(self, host):
        answer = subprocess.run(self.net.command(host, "serf", "members"), capture_output=True,
                                text=True)
        return len(re.findall(r"\balive\b", answer.stdout)) == len(self.hosts)

    # 2026/11/28 10:41:07 [INFO] serf: EventMemberFailed: n2 10.98.0.2: its clock has seconds alone,
    # so the time is that at which the line was first seen.
    @staticmethod
    def death(line, victim):
        match = re.search(r"serf: EventMemberFailed: n(\d+) ", line)
        if match and victim in (None, int(match.group(1))):
            return time.time()
        return None


class Covey(System):
    label = "covey"

    def __init__(self, net, folder, programs):
        super().__init__(net, folder)
        self.programs = programs
        self.runs = tempfile.mkdtemp(prefix="covey-gossip.", dir=tmpfs_folder())

    def start_all(self):
        for host in range(1, self.net.count + 1):
            self.start(host)
        for host in self.processes:
            await_true(120, f"agentd {host}", lambda host=host: self.get(host, "/v1/status"))
        self.ctl(1, "init")
        token = self.ctl(1, "token", "create", "--uses", str(self.net.count))
        for host in range(2, self.net.count + 1):
            self.ctl(host, "join", "-", input=token)

    def start(self, host):
        state = os.path.join(self.folder, f"state{host}")
        config = os.path.join(self.folder, f"agent{host}.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"node: n{host}\ninterface: wlan0\nstate_dir: {state}\n"
                       f"run_dir: {self.runs}/{host}\n")
        self.spawn(host, os.path.join(self.programs, "agentd"), "--config", config)

    def ctl(self, host, *arguments, **options):
        answer = subprocess.run(
            [os.path.join(self.programs, "agentctl"), "--socket", f"{self.runs}/{host}/agent.sock",
             *arguments], capture_output=True, text=True, **options)
        if answer.returncode != 0:
            raise Failed(f"agentctl {' '.join(arguments)} on {host}: {answer.stderr}")
        return answer.stdout

    def get(self, host, path):
        connection = UnixConnection(f"{self.runs}/{host}/agent.sock")
        try:
            connection.request("GET", path)
            return json.load(connection.getresponse())
        except (OSError, ValueError):
            return None
        finally:
            connection.close()

    def complete(self, host):
        status = self.get(host, "/v1/status") or {}
        nodes = status.get("nodes", [])
        return sum(node["state"] == "alive" for node in nodes) == self.net.count

    def stop(self):
        super().stop()
        shutil.rmtree(self.runs, ignore_errors=True)

    @staticmethod
    def death(line, victim):
        match = re.search(r"\bn(\d+) is dead", line)
        if match and victim in (None, int(match.group(1))):
            return time.time()
        return None


def detect(system, victim):
    """Seconds until every other node has said that @victim is dead, seen within some 10 ms."""
    offsets = system.offsets()
    killed = system.kill(victim)
    others = set(system.processes)
    seen = {}
    while len(seen) < len(others):
        for host, at in system.deaths(offsets, victim):
            seen.setdefault(host, at)
        if time.time() - killed > 60:
            raise Failed(f"{system.label}: {sorted(others - set(seen))} still believe in {victim}")
        time.sleep(0.01)
    return max(seen.values()) - killed


def rejoin(system, victim):
    system.start(victim)
    await_true(90, f"{system.label}: all to see {victim} again",
               lambda: all(map(system.complete, list(system.processes))), pause=0.3)


def rates_over(net, names, seconds):
    """Bytes per second and node."""
    hosts = range(1, net.count + 1)
    before = {host: net.sent(host) for host in hosts}
    began = time.monotonic()
    time.sleep(seconds)
    past = time.monotonic() - began
    after = {host: net.sent(host) for host in hosts}
    return {name: statistics.mean((after[host][name] - before[host][name]) / past for host in hosts)
            for name in names}


def settle(net, systems):
    """Until what was begun at the start (records and sessions are exchanged) is over: one look is like
    the next."""
    names = [system.label for system in systems]
    end = time.monotonic() + SETTLE_S
    last = rates_over(net, names, LOOK_S)
    while time.monotonic() < end:
        rates = rates_over(net, names, LOOK_S)
        if all(abs(rates[name] - last[name]) <= ALIKE * last[name] for name in names):
            return
        last = rates


def traffic(net, systems, seconds):
    """Bytes per second and node, of both at once, and how many pairs were wrongly called dead."""
    offsets = {system.label: system.offsets() for system in systems}
    rates = rates_over(net, [system.label for system in systems], seconds)
    wrong = {system.label: len(system.deaths(offsets[system.label])) for system in systems}
    return rates, wrong
