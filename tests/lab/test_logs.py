"""Logs over two Pis: in the order of time, also while they are followed, whatever happens meanwhile."""

import json
import signal
import subprocess

import flock
from flock import WAIT_S, eventually, workload

# Numbered lines of JSON from each replica, all the time.
TICKER = ["/usr/bin/python3", "-u", "-c", """
import json, time
number = 0
while True:
    number += 1
    print(json.dumps({"level": "error" if number % 5 == 0 else "info", "msg": "tick",
                      "number": number}))
    time.sleep(0.02)
"""]
PLAIN = ["/bin/sh", "-c", "printf 'one\\033[31m \\302\\233two\\n'; echo 'ERROR three' >&2; "
         "printf '\\377\\000binary\\n'; sleep 1000"]
MANY = 30000
BURST = ["/bin/sh", "-c", f"seq 1 {MANY}; sleep 1000"]
FLOOD = ["/bin/sh", "-c", "seq 1 2000000; echo done"]


def numbers(lines, instance):
    return [line["fields"]["number"] for line in lines if line["instance"] == instance]


ROOM = 24 << 20


class SmallRoom(flock.Flock):
    configs = {name: f"logs: {{max_total: {ROOM >> 20}Mi}}\n" for name in flock.Flock.names}


class Logs(flock.FlockTest):
    make = SmallRoom

    @classmethod
    def prepare(cls):
        cls.files = {"cluster.yaml": flock.CLUSTER,
                     "apps/a/ticker.yaml": workload("ticker", TICKER, replicas=2),
                     "apps/a/plain.yaml": workload("plain", PLAIN),
                     "apps/a/burst.yaml": workload("burst", BURST)}
        cls.flock.apply(cls.files)

    def logs(self, *arguments, pi=None):
        result = self.flock.must(pi or self.pi1, "-o", "json", "logs", *arguments)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def follow(self, *arguments, output="followed", pi=None):
        pi = pi or self.pi1
        path = self.flock.folder / output
        with open(path, "wb") as file:
            process = subprocess.Popen(
                [flock.programs / "agentctl", "--socket", pi.run / "agent.sock", "-o", "json",
                 "logs", "-f", *arguments], stdout=file, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, path

    @staticmethod
    def whole_lines(path):
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def test_replicas_of_all_nodes_are_merged_by_time(self):
        lines = eventually(lambda: (found := self.logs("ticker", "-n", "200")) and
                           len(found) == 200 and found, "there are 200 lines")
        self.assertEqual({(line["instance"], line["node"]) for line in lines},
                         {(i["name"], i["node"]) for i in self.pi1.instances("ticker").values()})
        self.assertEqual({line["node"] for line in lines}, {"pi1", "pi2"})
        times = [line["time"] for line in lines]
        self.assertEqual(times, sorted(times))
        for instance in ("ticker.0", "ticker.1"):
            found = numbers(lines, instance)
            self.assertEqual(found, list(range(found[0], found[0] + len(found))))

    def test_the_run_before(self):
        self.flock.apply({"apps/a/short.yaml": workload(
            "short", ["/bin/sh", "-c", "echo in $$; echo out $$; sleep 1; exit 3"])})
        run = eventually(lambda: (lines := self.flock.must(
            self.pi2, "logs", "-p", "short", "--raw").stdout.split("\n")) and lines[0] and lines,
            lambda: self.pi1.ctl("apps", "short").stdout)
        self.assertEqual((run[0].split()[0], run[1:]), ("in", [f"out {run[0].split()[1]}", ""]))
        last = self.flock.must(self.pi2, "logs", "-p", "short", "-n", "1", "--raw").stdout
        self.assertRegex(last, r"^out \d+\n$")
        result = self.pi1.ctl("logs", "-p", "plain")
        self.assertEqual((result.status, result.stdout), (0, ""))
        self.assertIn("no run that has ended", result.stderr)
        self.assertEqual(self.pi1.ctl("logs", "-p", "-f", "plain").status, 2)

    def test_followed_over_a_restart_of_an_agent(self):
        """No line is missing, none comes twice, and the order is that of time."""
        _, path = self.follow("ticker", "-n", "all")
        eventually(lambda: len(self.whole_lines(path)) > 50, "lines are followed")
        before = len(self.whole_lines(path))
        self.pi2.kill()
        self.pi2.start()
        self.flock.settle()
        known = max(numbers(self.whole_lines(path), "ticker.0") +
                    numbers(self.whole_lines(path), "ticker.1"))
        eventually(lambda: min(max(numbers(self.whole_lines(path), i), default=0)
                               for i in ("ticker.0", "ticker.1")) > known + 50,
                   "both replicas are followed again")
        lines = self.whole_lines(path)
        for instance in ("ticker.0", "ticker.1"):
            found = numbers(lines, instance)
            self.assertEqual(found, list(range(1, len(found) + 1)), instance)
        times = [line["time"] for line in lines]
        self.assertEqual(times[:before], sorted(times[:before]))

    def test_the_asked_agent_restarts_itself(self):
        process, path = self.follow("ticker", "-n", "1")
        eventually(lambda: len(self.whole_lines(path)) > 10, "lines are followed")
        self.pi1.kill()
        self.pi1.start()
        self.flock.settle()
        known = len(self.whole_lines(path))
        eventually(lambda: len(self.whole_lines(path)) > known + 100, "they are followed again")
        self.assertIsNone(process.poll())
        for instance in ("ticker.0", "ticker.1"):
            found = numbers(self.whole_lines(path), instance)
            self.assertEqual(found, list(range(found[0], found[0] + len(found))))

    def test_level_node_and_time_choose(self):
        eventually(lambda: len(self.logs("ticker")) == 100, "there are lines")
        errors = self.logs("ticker", "--level", "error", "-n", "30")
        self.assertTrue(errors)
        self.assertEqual({line["level"] for line in errors}, {"error"})
        self.assertTrue(all(line["fields"]["number"] % 5 == 0 for line in errors))
        here = self.logs("ticker", "--node", "pi2")
        self.assertEqual({line["node"] for line in here}, {"pi2"})
        middle = self.logs("ticker", "-n", "50")[0]["time"]
        since = self.logs("ticker", "--since", middle)
        self.assertGreaterEqual(len(since), 50)
        self.assertTrue(all(line["time"] >= middle for line in since))
        self.assertEqual(self.logs("ticker", "--since", "2999-01-01T00:00:00Z"), [])
        self.assertEqual(self.pi1.ctl("logs", "ticker", "--node", "pi7").status, 1)
        self.assertEqual(self.pi1.ctl("logs", "ticker", "--level", "loud").status, 1)
        self.assertEqual(self.pi1.ctl("logs", "ticker", "--since", "soon").status, 2)
        self.assertEqual(self.pi1.ctl("logs", "nothing").status, 1)

    def test_people_see_text(self):
        text = eventually(lambda: (t := self.pi1.ctl("logs", "plain").stdout).count("\n") == 3 and t,
                          "three lines were logged")
        self.assertNotIn("\033", text)
        self.assertIn("one?[31m ?two\n", text)
        self.assertIn("\N{REPLACEMENT CHARACTER}?binary\n", text)
        self.assertRegex(text, r"(?m)^\d{4}-\d\d-\d\dT\S+Z plain\.0@pi[12] ERROR three$")
        self.assertIn("binary", json.dumps(self.logs("plain", "--raw")))
        raw = self.pi1.ctl("logs", "plain", "--raw", "--level", "error").stdout
        self.assertEqual(raw, "ERROR three\n")
        ticks = self.pi1.ctl("logs", "ticker", "-n", "9").stdout
        self.assertRegex(ticks, r"(?m)@pi[12] info    tick number=\d+$")

    def test_more_than_a_page(self):
        lines = eventually(lambda: (t := self.pi1.ctl("logs", "burst", "-n", "all", "--raw").stdout)
                           .count("\n") == MANY and t.split(), "all lines came")
        self.assertEqual(lines, [str(n) for n in range(1, MANY + 1)])
        last = self.pi2.ctl("logs", "burst", "--tail=10000", "--raw").stdout.split()
        self.assertEqual(last, [str(n) for n in range(MANY - 9999, MANY + 1)])

    def test_a_reader_that_does_not_read_blocks_nobody(self):
        process, path = self.follow("flood", output="stopped")
        process.wait(WAIT_S)  # there is no such workload yet
        self.flock.push({"apps/a/flood.yaml": workload("flood", ["/bin/sleep", "1000"])})
        eventually(lambda: self.pi1.instances("flood"), "flood runs")
        process, path = self.follow("flood", output="stopped")
        process.send_signal(signal.SIGSTOP)
        self.flock.push({"apps/a/flood.yaml": workload("flood", FLOOD, restartPolicy="Never")})
        eventually(lambda: self.pi1.instances("flood").get("flood.0", {}).get("state") == "completed",
                   lambda: self.pi1.instances("flood"))
        process.send_signal(signal.SIGCONT)
        eventually(lambda: any(line["text"] == "done" for line in self.whole_lines(path)),
                   "the reader comes to the end")
        self.flock.apply({"apps/a/flood.yaml": None})

    def test_all_logs_together_have_a_bound(self):
        """Each of four is within its own bound of 16 MiB; two of them are too much for a Pi."""
        self.flock.push({"apps/a/fill.yaml": workload(
            "fill", ["/bin/sh", "-c", "seq 1 350000; sleep 1000"], replicas=4)})
        size = lambda pi: sum(file.stat().st_blocks * 512 for file in (pi.state / "logs").glob("*/*"))
        for pi in self.flock.pis:
            eventually(lambda: pi.has_event("warning", f"have reached {ROOM >> 20} MiB together"),
                       lambda: f"{pi.name} holds {size(pi)} bytes")
            eventually(lambda: size(pi) <= ROOM, lambda: f"{pi.name} holds {size(pi)} bytes")
            self.assertGreater(size(pi), ROOM // 2)
        self.assertEqual({i["restarts"] for i in self.pi1.instances().values()}, {0})
        last = self.flock.must(self.pi1, "logs", "fill.0", "-n", "1", "--raw").stdout
        self.assertEqual(last, "350000\n")
        self.flock.apply({"apps/a/fill.yaml": None})

    def test_a_workload_that_is_gone_can_still_be_read(self):
        self.flock.push({"apps/a/gone.yaml": workload("gone", ["/bin/sh", "-c",
                                                               "echo last words; sleep 1000"])})
        eventually(lambda: self.pi1.ctl("logs", "gone").status == 0, "it has logged")
        self.flock.push({"apps/a/gone.yaml": None})
        eventually(lambda: not self.pi1.instances("gone"), "it is gone")
        self.assertIn("last words", self.pi1.ctl("logs", "gone").stdout)


if __name__ == "__main__":
    flock.main()
