"""The systems that tests/bench/vip measures: Covey, keepalived, ucarp, each on Pis of its own network.

All have the same verbs. Covey's agents stay from one failure to the next; the others start anew."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

import flock as flocks
from flock import Failed, Lab, await_true

VIP = "10.77.0.210"  # the first of the pool
SILENCE_S = 6  # after an agent's start without a memory, and a voter set's adoption: docs/vip.md, rules 8, 15
ELECTED_S = 4  # a peer's election has ended when the owner has been the same for so long
SUPERVISOR_S = 0.1  # a supervisor's pause before it starts a program again: agentd.service's

CLUSTER = """\
apiVersion: covey.dev/v1
kind: Cluster
metadata: {name: bench}
spec:
  pool: 10.77.0.210-10.77.0.230
"""

ADDRESS = """\
apiVersion: covey.dev/v1
kind: VirtualIP
metadata: {name: NAME}
spec: {mode: solo}
"""


def let_pass(since, seconds):
    """Until @seconds after @since, by the wall clock. Only for time that is itself the measurement or the
    protocol: a window that is watched, a fault that lasts so long, a silence that nothing tells the end of.
    What has to come about is waited for."""
    time.sleep(max(0, since + seconds - time.time()))


def holders(lab, pis):
    """Who has the address on its interface, whether it would answer or not."""
    found = []
    for pi in pis:
        answer = subprocess.run(["ip", "-n", f"{lab.prefix}-{pi}", "-br", "-4", "address"],
                                capture_output=True, text=True)
        if f" {VIP}/" in answer.stdout:
            found.append(pi)
    return found


class System:
    lasting = False  # does it go on after a failure that is over?

    def __init__(self, name, pis, lab):
        self.name = name
        self.pis = pis
        self.lab = lab

    def owner(self):
        found = holders(self.lab, self.pis)
        return found[0] if len(found) == 1 else None

    def power_off(self, pi):
        self.lab.call("lab_host_down", pi)

    def note(self):
        """What may explain a measurement, for the JSON."""
        return {}


class Covey(System):
    lasting = True

    def __init__(self, name, build, pis, keep, lab=None, addresses=1, config=""):
        self.flock = flocks.Flock(f"bench-vip-{name}", build, keep, pis, lab, config)
        super().__init__(name, pis, self.flock.lab)
        self.addresses = addresses
        self.down = set()  # whose agent has ended,
        self.off = set()  # and who has no power
        self.silent_since = 0

    def start(self):
        self.flock.__enter__()
        self.flock.clone()
        self.flock.write("cluster.yaml", CLUSTER)
        for i in range(self.addresses):
            self.flock.write(f"apps/edge/vip-{i:02}.yaml", ADDRESS.replace("NAME", f"vip-{i:02}"))
        self.flock.commit("addresses")
        self.flock.push()
        self.silent_since = time.time()
        self.ready()
        let_pass(self.silent_since, SILENCE_S)

    def end(self):
        self.flock.close(failed=False)

    def ready(self):
        await_true(60, "the flock to be healthy", self.flock.healthy)
        await_true(20, "one owner", self.owner)

    def agent(self, pi):
        return self.flock.pis[pi]

    def owner(self):
        """An address outlives its lease by up to a second: its holder is who says so besides."""
        pi = super().owner()
        try:
            held = pi and any(v["address"] == VIP and v["here"]
                              for v in self.agent(pi).get("/v1/status")["vips"])
        except OSError:
            held = False
        return pi if held else None

    def kill(self, pi):
        self.agent(pi).process.kill()
        self.down.add(pi)

    def kill_and_restart(self, pi):
        self.agent(pi).kill_agent()
        let_pass(time.time(), SUPERVISOR_S)
        self.agent(pi).spawn()

    def power_off(self, pi):
        self.agent(pi).cut_power()
        self.off.add(pi)

    def stop(self, pi):
        self.agent(pi).process.terminate()
        self.down.add(pi)

    def pause(self, pi, on):
        self.agent(pi).process.send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def drain(self, pi):
        self.agent(pi).agentctl("drain")

    def move(self, pi):
        target = next(other for other in self.pis if other != pi)
        self.agent(pi).agentctl("vip", "move", VIP, target)

    def renew(self):
        """Agents without a memory: they take the link for a good one, whatever it was before (docs/vip.md,
        section 7)."""
        for pi in self.pis:
            self.agent(pi).process.terminate()
            self.agent(pi).process.wait()
            shutil.rmtree(self.agent(pi).run_dir)
            self.agent(pi).start_agent()
        self.silent_since = time.time()
        self.ready()
        let_pass(self.silent_since, SILENCE_S)

    def recover(self):
        """After a measurement: whatever it has ended runs again, and long enough to vote."""
        for pi in self.pis:
            if pi in self.off:
                self.agent(pi).boot()
            elif pi in self.down:
                self.agent(pi).process.wait()
                self.agent(pi).start_agent()
            self.agent(pi).agentctl("undrain")
        if self.down or self.off:
            self.silent_since = time.time()
        self.down.clear()
        self.off.clear()
        self.ready()
        let_pass(self.silent_since, SILENCE_S)

    def fence_open(self, pi):
        """By its kernel's word: for a Pi that nobody can ask by the air."""
        command = self.lab.command(pi, "nft", "list", "set", "inet", "covey", "leased")
        return VIP in subprocess.run(command, capture_output=True, text=True).stdout

    def lease_bytes(self, pi):
        return self.agent(pi).get("/v1/status")["wire"]["sentLeaseBytes"]

    def note(self):
        terms = [pi.get("/v1/status").get("leaseMs") for pi in self.flock.pis.values()]
        return {"leaseMs": max((t for t in terms if t), default=None)}


class Peer(System):
    """A program per Pi, started by a command line of its own."""

    def __init__(self, name, pis, lab=None):
        super().__init__(name, pis, lab or Lab(f"covey-bench-vip-{name}", pis))
        self.folder = tempfile.mkdtemp(prefix=f"covey-bench-vip-{name}.", dir="/var/tmp")
        self.processes = {}
        self.chosen, self.chosen_at = None, 0  # the owner, and since when

    def start(self):
        self.lab.call("lab_down")
        self.lab.call("lab_up")
        self.chosen = None
        for number, pi in enumerate(self.pis):
            self.launch(pi, number)
        await_true(30, f"{self.name} to have one owner that stays", self.elected)

    def elected(self):
        owner = self.owner()
        if owner is None or owner != self.chosen:
            self.chosen, self.chosen_at = owner, time.monotonic()
        return owner is not None and time.monotonic() - self.chosen_at > ELECTED_S

    def launch(self, pi, number):
        with open(os.path.join(self.folder, f"{pi}.log"), "ab") as log:
            self.processes[pi] = self.lab.start(pi, *self.command(pi, number), stdout=log,
                                                stderr=log)

    def end(self):
        self.lab.call("lab_down")
        for process in self.processes.values():
            process.wait()
        subprocess.run(["rm", "-r", self.folder], check=True)

    def recover(self):
        self.lab.call("lab_down")
        for process in self.processes.values():
            process.wait()
        self.start()

    def ready(self):
        pass

    def all_pids(self, pi):
        """The program and its children; those first: a parent's death may end them in order."""
        pid = self.processes[pi].pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()] + [pid]

    def kill(self, pi):
        for pid in self.all_pids(pi):
            os.kill(pid, signal.SIGKILL)

    def kill_and_restart(self, pi):
        self.kill(pi)
        self.processes[pi].wait()
        let_pass(time.time(), SUPERVISOR_S)
        self.launch(pi, self.pis.index(pi))

    def stop(self, pi):
        self.processes[pi].terminate()

    def pause(self, pi, on):
        for pid in self.all_pids(pi):
            os.kill(pid, signal.SIGSTOP if on else signal.SIGCONT)


class Keepalived(Peer):
    def __init__(self, name, pis, fast, lab=None):
        super().__init__(name, pis, lab)
        self.fast = fast

    def command(self, pi, number):
        path = os.path.join(self.folder, f"{pi}.conf")
        version = "vrrp_version 3" if self.fast else ""
        with open(path, "w", encoding="ascii") as file:
            file.write(
                f"global_defs {{\n router_id {pi}\n {version}\n}}\n"
                f"vrrp_instance bench {{\n state BACKUP\n interface wlan0\n"
                f" virtual_router_id 51\n priority {150 - 10 * number}\n"
                f" advert_int {0.1 if self.fast else 1}\n"
                f" virtual_ipaddress {{\n  {VIP}/24 dev wlan0\n }}\n}}\n")
        pid = os.path.join(self.folder, pi)
        for old in (f"{pid}.pid", f"{pid}.vrrp"):
            if os.path.exists(old):
                os.remove(old)
        return ["keepalived", "-n", "-l", "-P", "-f", path, "-p", f"{pid}.pid", "-r", f"{pid}.vrrp"]


class Ucarp(Peer):
    def command(self, pi, number):
        scripts = {}
        for verb in ("add", "del"):
            scripts[verb] = os.path.join(self.folder, f"{pi}.{verb}")
            with open(scripts[verb], "w", encoding="ascii") as file:
                file.write(f'#!/bin/sh\nexec ip addr {verb} {VIP}/24 dev "$1"\n')
            os.chmod(scripts[verb], 0o755)
        return ["ucarp", "-i", "wlan0", "-s", self.lab.address(pi), "-v", "51", "-p", "bench", "-a",
                VIP, "-u", scripts["add"], "-d", scripts["del"], "-z", "-P", "-k",
                str(20 * number)]


def make(name, build, keep, lab=None, pis=None):
    two, three = ("pi1", "pi2"), ("pi1", "pi2", "pi3")
    if name == "covey2":
        return Covey(name, build, pis or two, keep, lab)
    if name == "covey3":
        return Covey(name, build, pis or three, keep, lab)
    if name == "covey2-short":
        return Covey(name, build, two, keep, lab, config="lease_min: 250ms\nlease_max: 250ms\n")
    if name == "covey2-many":
        return Covey(name, build, two, keep, lab, addresses=21)
    if name == "keepalived":
        return Keepalived(name, pis or three, False, lab)
    if name == "keepalived-fast":
        return Keepalived(name, pis or three, True, lab)
    if name == "ucarp":
        return Ucarp(name, pis or three, lab)
    raise Failed(f"there is no system {name}")
