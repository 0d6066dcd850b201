"""What a client and the hosts' kernels saw while something failed."""

import datetime
import json
import re
import select
import signal
import subprocess

INTERVAL_S = 0.01
LATE_S = 0.5  # probes of the end may still be under way


class Watch:
    """From its start to stop(): the client's probes, and the addresses of every Pi."""

    def __init__(self, system, addresses, interval=INTERVAL_S, client="client", directly=True):
        self.interval = interval
        lab = system.lab
        macs = {}
        for pi in system.pis if directly else ():
            link = json.loads(lab.run(pi, "ip", "-j", "link", "show", "wlan0"))
            macs[pi] = link[0]["address"]
        self.probe = lab.start(
            client, "/usr/bin/python3", __file__.replace("vip_watch", "vip_probe"), str(interval),
            ",".join(addresses), *(f"{pi}={mac}" for pi, mac in macs.items()),
            stdout=subprocess.PIPE, bufsize=0)  # nothing is read ahead: answered() waits for what is next
        self.probe.stdout.readline()  # it has begun
        self.monitors = {
            pi: lab.start(pi, "ip", "-ts", "-o", "-4", "monitor", "address",
                          stdout=subprocess.PIPE, text=True)
            for pi in system.pis}

    def answered(self, seconds):
        """Waits until every address has answered; False if that does not come within @seconds."""
        return bool(select.select([self.probe.stdout], [], [], seconds)[0]
                    and self.probe.stdout.readline())

    def stop(self):
        for monitor in self.monitors.values():
            monitor.terminate()
        changes = {pi: m.communicate()[0] for pi, m in self.monitors.items()}
        self.probe.send_signal(signal.SIGTERM)
        lines = self.probe.communicate()[0].splitlines()
        return Seen(json.loads(lines[-1]), changes, self.interval)


class Seen:
    def __init__(self, probed, changes, interval):
        self.sent = probed["sent"]
        self.answers = probed["answers"]  # [round, time, address's index, host]
        self.interval = interval
        self.holding = [set() for _ in self.sent]  # who would answer, by round
        for number, host in probed["direct"]:
            self.holding[number].add(host)
        self.changes = []  # (time, pi, address, set or gone)
        for pi, text in changes.items():
            for line in text.splitlines():
                found = re.match(r"\[([^]]+)\]\s*(Deleted )?.* inet ([0-9.]+)/", line)
                if found:
                    when = datetime.datetime.fromisoformat(found[1]).timestamp()
                    self.changes.append((when, pi, found[3], found[2] is None))

    def times(self, index=0):
        return sorted(t for _, t, i, _ in self.answers if i == index)

    def outage(self, since, until=float("inf"), index=0):
        """The longest time without an answer that lies, in part, after @since."""
        times = self.times(index)
        before = [t for t in times if t <= since]
        within = [t for t in times if since < t <= until]
        marks = before[-1:] + within
        if not within or (until == float("inf") and self.sent[-1] - marks[-1] > 1):
            marks.append(min(until, self.sent[-1]))  # it never came back
        return max((b - a for a, b in zip(marks, marks[1:])), default=0) - self.interval

    def lost(self, since, index=0):
        answered = {number for number, _, i, _ in self.answers if i == index}
        return sum(1 for number, sent in enumerate(self.sent)
                   if since <= sent < self.sent[-1] - LATE_S and number not in answered)

    def overlap(self, since=0):
        """Time in which two hosts would have answered. One round alone may be a hand-over between the
        request to the one and the request to the other."""
        run = total = 0
        for sent, hosts in zip(self.sent, self.holding):
            run = run + 1 if len(hosts) > 1 and sent >= since else 0
            total += run if run == 2 else 1 if run > 2 else 0
        return total * self.interval

    def held_till(self, host, since):
        """How long after @since this host would have answered."""
        rounds = [t for t, hosts in zip(self.sent, self.holding) if host in hosts and t >= since]
        return rounds[-1] - since if rounds else 0

    def address_gone(self, pi, address, since):
        """When the kernel took the address off: seconds after @since, or None."""
        gone = [t for t, who, what, there in self.changes
                if who == pi and what == address and not there and t >= since]
        return gone[0] - since if gone else None

    def moves(self, since=0):
        """How often another host began to answer."""
        hosts = [host for _, t, i, host in sorted(self.answers, key=lambda a: a[1])
                 if i == 0 and t >= since]
        return sum(a != b for a, b in zip(hosts, hosts[1:]))
