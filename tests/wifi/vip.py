"""Inside the machine of vm.sh: tests/bench/vip's measurements with stations and an access point."""

import json
import os
import subprocess
import sys
import time

ROOT = os.environ["ROOT"]
sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))

import flock as flocks  # noqa: E402
import vip as bench  # noqa: E402
from flock import Failed, Lab, await_true  # noqa: E402
from vip_systems import SILENCE_S, Covey, let_pass  # noqa: E402

INTERVAL_S = 0.02  # an emulated processor has to send and answer all of them
GOOD_LEASE_MS = 500  # longer: the link has stuttered within ten minutes, as when a radio came back
COUNT = {"power": 3, "cut": 3, "broadcast": 3, "move": 5, "stop": 3, "drain": 3, "loss20": 3}
GOALS = (  # case, measured, of the samples, at most
    ("power", "outage", "median", 0.8), ("power", "outage", "max", 1.2), ("power", "overlap", "max", 0),
    ("cut", "outage", "median", 0.8), ("cut", "outage", "max", 1.2), ("cut", "overlap", "max", 0),
    ("loss20", "outage", "max", 3), ("loss20", "overlap", "max", 0),
    ("sleep", "outage", "max", 5.5), ("sleep", "overlap", "max", 0),
    ("broadcast", "outage", "max", 1.4),
    ("move", "outage", "max", 0.3), ("move", "overlap", "max", 0),
    ("stop", "outage", "max", 0.3), ("stop", "overlap", "max", 0),
    ("drain", "outage", "max", 0.3), ("drain", "overlap", "max", 0),
    ("away", "fenced", "max", 0.65),  # with nft's own 0.1 s
    ("away", "back", "max", 2), ("away", "overlap", "max", 0),
    ("isolate", "overlap", "max", 0), ("isolate-witness", "overlap", "max", 0),
    ("power-save", "told", "max", 1), ("power-save", "off again", "max", 10))


def guest(*words):
    subprocess.run(["bash", "-c", '. "$0"; "$@"', os.path.join(ROOT, "tests/wifi/guest.sh"), *words],
                   check=True)


class Wifi(Lab):
    """The network of guest.sh, with the functions of provisioning/lab.sh."""

    def __init__(self, pis):
        super().__init__("wifi", pis)

    def call(self, function, *hosts):
        if function == "lab_host_down":
            guest("wifi_reach", hosts[0], "off")
            self.kill_all(hosts[0])
        elif function == "lab_host_up":
            guest("wifi_reach", hosts[0], "on")
            self.run(hosts[0], "nft", "flush", "ruleset")
            guest("wifi_wait", hosts[0])

    def kill_all(self, host):
        """All but what makes the radio a station: as if it had booted when it is on again."""
        pids = subprocess.run(["ip", "netns", "pids", f"wifi-{host}"], capture_output=True,
                              text=True).stdout.split()
        for pid in pids:
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() != "wpa_supplicant":
                    os.kill(int(pid), 9)

    @staticmethod
    def address(host):
        answer = subprocess.run(["bash", "-c", '. "$0"; wifi_address "$1"',
                                 os.path.join(ROOT, "tests/wifi/guest.sh"), host],
                                check=True, capture_output=True, text=True)
        return answer.stdout.strip()


def fail(system, do, seconds=8):
    return bench.fail_and_see(system, do, seconds, interval=INTERVAL_S)


def case_power(system):
    return fail(system, system.power_off)


def case_cut(system):
    """Its radio falls silent, and it goes on. Longer than 8 s, as in tests/bench/vip."""
    cut = []
    try:
        return fail(system, lambda pi: cut.append(pi) or guest("wifi_reach", pi, "off"), 10)
    finally:
        guest("wifi_reach", cut[0], "on")
        guest("wifi_wait", cut[0])


def case_loss20(system):
    guest("wifi_loss", "10.6")  # of what each sends; from Pi to Pi it is two frames, 20 % together
    try:
        return fail(system, system.power_off, 10)
    finally:
        guest("wifi_loss", "0")


def case_sleep(system):
    """With power save on, at all Pis, as their configuration allows it."""
    for pi in system.pis:
        system.lab.run(pi, "iw", "dev", "wlan0", "set", "power_save", "on")
    return fail(system, system.power_off, 12)


def case_broadcast(system):
    """The client has learnt the address before; the next owner has to tell it without a broadcast."""
    run = bench.Run(system, interval=INTERVAL_S)
    let_pass(run.since, bench.CLIENTS_S)
    guest("wifi_broadcast", "drop")
    try:
        run.since = time.time()
        system.power_off(run.owner)
        seen = run.end(8)
    finally:
        guest("wifi_broadcast", "pass")
    if not seen.lost(run.since):
        raise Failed(f"{run.owner} fell silent and no answer was lost: it was not the holder")
    return {"outage": seen.outage(run.since), "lost": seen.lost(run.since), "overlap": seen.overlap()}


def case_move(system):
    return fail(system, system.move, 4)


def case_stop(system):
    return fail(system, system.stop, 4)


def case_drain(system):
    return fail(system, system.drain, 4)


def case_away(system, seconds=60):
    """The access point loses its power and boots: stations notice, scan, and associate anew."""
    run = bench.Run(system, interval=INTERVAL_S)
    guest("wifi_reach", "ap", "off")
    guest("wifi_hostapd_stop")
    fenced = bench.fenced(system, run)
    let_pass(run.since, seconds)
    guest("wifi_reach", "ap", "on")
    guest("wifi_hostapd", "0")
    guest("wifi_wait", *system.pis, "client")
    back = time.time()
    seen = run.end(seconds + 40)
    first = next((t for t in seen.times() if t > run.since + seconds), None)
    return {"fenced": fenced, "back": max(0, first - back) if first else None,
            "overlap": seen.overlap(run.since + seconds)}


def case_isolate(system, seconds=30):
    """Stations reach the router and the wired host, and not each other."""
    guest("wifi_hostapd", "1")
    guest("wifi_wait", *system.pis)
    run = bench.Run(system, interval=INTERVAL_S, client="desk")
    seen = run.end(seconds)
    guest("wifi_hostapd", "0")
    guest("wifi_wait", *system.pis, "client")
    return {"overlap": seen.overlap(), "lost": seen.lost(run.since), "moves": seen.moves()}


def case_power_save(system):
    pi = system.pis[0]
    system.lab.run(pi, "iw", "dev", "wlan0", "set", "power_save", "on")
    doctor = subprocess.run(
        system.lab.command(pi, f"{system.flock.bin}/agentctl", "--socket",
                           f"{system.agent(pi).run_dir}/agent.sock", "-o", "json", "doctor"),
        capture_output=True, text=True).stdout
    told = [i["result"] for i in json.loads(doctor)["items"] if i["name"] == "power-save"]
    since = time.time()
    await_true(30, "the agent to switch power save off",
               lambda: "off" in system.lab.run(pi, "iw", "dev", "wlan0", "get", "power_save"))
    return {"told": 0 if told == ["warning"] else 2, "off again": time.time() - since}


def add_witness(system):
    """A third voter, on a wired host, which holds nothing."""
    witness = flocks.Pi(system.flock, "desk")
    path = os.path.join(witness.disk, "agent.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("wlan0", "eth0")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "role: witness\n")
    witness.start_agent()
    witness.agentctl("join", "-", input=system.agent("pi1").agentctl("token", "create"))
    system.flock.names = (*system.flock.names, "desk")  # the flock is healthy when all see it, too
    await_true(60, "the voter set to grow by the witness", lambda: all(
        len(v["votes"]) == 3 for pi in system.pis
        for v in system.agent(pi).get("/v1/status")["vips"] if v["here"]))
    let_pass(time.time(), SILENCE_S)
    return witness


CASES = {"power": case_power, "cut": case_cut, "loss20": case_loss20, "sleep": case_sleep,
         "broadcast": case_broadcast, "move": case_move, "stop": case_stop, "drain": case_drain,
         "away": case_away, "isolate": case_isolate, "isolate-witness": case_isolate,
         "power-save": case_power_save}


def value(samples, what, share):
    values = sorted(s[what] for s in samples if s.get(what) is not None)
    if len(values) < len(samples):
        return float("inf")
    return values[len(values) // 2] if share == "median" else values[-1]


def main():
    build, cases = sys.argv[1], sys.argv[2:]
    pis = ("pi1", "pi2")
    samples = {}
    missed = 0
    config = "power_save: true\n" if "sleep" in cases else ""
    system = Covey("wifi", build, pis, False, Wifi(pis), config=config)
    try:
        system.start()
        print(f"a flock over 802.11, Linux {os.uname().release}", flush=True)
        for case in cases:
            if case == "isolate-witness":
                add_witness(system)
            for _ in range(COUNT.get(case, 1)):
                if system.note()["leaseMs"] > GOOD_LEASE_MS:
                    print(f"leases of {system.note()['leaseMs']} ms: the agents begin anew",
                          flush=True)
                    system.renew()
                note = system.note()
                sample = {**CASES[case](system), **note}
                print(f"{case}: {sample}", flush=True)
                samples.setdefault(case, []).append(sample)
                system.recover()
    except (Failed, OSError, subprocess.SubprocessError) as failure:
        print(f"tests/wifi/vip: {failure}")
        for pi in system.flock.pis.values():
            print(subprocess.run(["tail", "-n", "20", os.path.join(pi.disk, "agentd.log")],
                                 capture_output=True, text=True).stdout, flush=True)
        missed += 1
    finally:
        system.end()
    for case, what, share, goal in GOALS:
        if case in samples:
            got = value(samples[case], what, share)
            good = goal is None or got <= goal
            missed += not good
            print(f"{case}: {what}, {share} of {len(samples[case])}: {got:.2f}"
                  f"{'' if goal is None else f' (<= {goal})'} {'ok' if good else 'MISSED'}")
    with open(os.path.join(os.environ["OUT"], "vip.json"), "w", encoding="utf-8") as file:
        json.dump({"kernel": os.uname().release, "samples": samples}, file, indent=1)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
