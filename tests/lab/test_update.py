"""Updates by git push: no request of a client is lost, and never too many replicas are away."""

import json
import subprocess
import sys
import threading

import flock

PORT = 5000


def rest_api(revision, replicas=1, **strategy):
    return flock.http_workload("rest-api", replicas=replicas, updateStrategy=strategy,
                               env=[{"name": "REVISION", "value": str(revision)}],
                               readinessProbe={"httpGet": {"path": "/ready", "port": "http"},
                                               "periodSeconds": 1, "timeoutSeconds": 2})


# Asks as fast as it can, each time over a new connection; one line at the end says how that went.
CLIENT = """
import http.client, json, sys, threading
address, port = sys.argv[1], int(sys.argv[2])
failed, asked, stop = [], [0, 0], threading.Event()
def ask(number):
    while not stop.is_set():
        connection = http.client.HTTPConnection(address, port, timeout=10)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append(f"status {answer.status}")
        except (OSError, http.client.HTTPException) as error:
            failed.append(repr(error))
        connection.close()
        asked[number] += 1
threads = [threading.Thread(target=ask, args=(n,)) for n in range(2)]
[t.start() for t in threads]
sys.stdin.read()
stop.set()
[t.join() for t in threads]
print(json.dumps({"asked": sum(asked), "failed": failed}))
"""


class Client:
    """In the client's network; stop() returns how many requests were made, and what failed."""

    def __init__(self, lab, address):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", f"{lab.prefix}-client", sys.executable, "-c", CLIENT, address,
             str(PORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def stop(self):
        out, _ = self.process.communicate("", timeout=flock.WAIT_S)
        return json.loads(out)


class Update(flock.FlockTest):
    def revision(self, pi):
        """What the processes of rest-api on this Pi have in their environment."""
        found = []
        for name, pid in pi.processes():
            if name.startswith("rest-api."):
                try:
                    with open(f"/proc/{pid}/environ", "rb") as file:
                        found += [v[9:].decode() for v in file.read().split(b"\0")
                                  if v.startswith(b"REVISION=")]
                except (FileNotFoundError, ProcessLookupError):
                    pass  # it has just ended
        return found

    def running(self):
        return sorted(r for pi in self.flock.pis for r in self.revision(pi))

    def test_no_request_is_lost_when_sockets_are_handed_over(self):
        self.flock.apply({"cluster.yaml": flock.CLUSTER,
                          "apps/web/rest-api.yaml": rest_api(1, handOver=True)})
        pi = next(pi for pi in self.flock.pis if self.revision(pi))
        client = Client(self.flock, pi.address)
        try:
            for revision in range(2, 5):
                if revision == 4:  # the sockets come back from the shim
                    pi.kill()
                    pi.start()
                    self.flock.settle()
                self.flock.apply({"apps/web/rest-api.yaml": rest_api(revision, handOver=True)})
                flock.eventually(lambda: self.revision(pi) == [str(revision)],
                                 lambda: f"{self.revision(pi)} instead of {revision}")
        finally:
            result = client.stop()
        self.assertEqual(result["failed"], [])
        self.assertGreater(result["asked"], 100)
        self.assertEqual(pi.app("rest-api")["instances"][0]["ports"]["http"], PORT)
        # What was said in the last two seconds before a kill -9 is not in the journal.
        self.assertTrue(pi.has_event("handed over to its next version"), pi.events())

    def test_a_version_that_does_not_get_ready_changes_nothing(self):
        """And is tried in one place at a time."""
        files = {"cluster.yaml": flock.CLUSTER,
                 "apps/web/rest-api.yaml": rest_api(1, replicas=2, handOver=True)}
        self.flock.apply(files)
        before = [pi.processes() for pi in self.flock.pis]
        broken = json.loads(rest_api(2, replicas=2, handOver=True))
        broken["spec"]["readinessProbe"]["httpGet"]["path"] = "/no-such-page"
        client = Client(self.flock, self.pi1.address)
        try:
            self.flock.push({"apps/web/rest-api.yaml": json.dumps(broken)})
            pi = flock.eventually(lambda: next((pi for pi in self.flock.pis
                                                if "2" in self.revision(pi)), None),
                                  "the next version is tried")
            flock.eventually(lambda: any("next version" in (instance.get("reason") or "")
                                         for instance in pi.app("rest-api")["instances"]),
                             lambda: pi.app("rest-api"))
            self.assertEqual(self.running(), ["1", "1", "2"])
            self.flock.apply(files)
            flock.eventually(lambda: [pi.processes() for pi in self.flock.pis] == before,
                             lambda: [pi.processes() for pi in self.flock.pis])
        finally:
            result = client.stop()
        self.assertEqual(result["failed"], [])

    def test_replicas_are_handed_over_in_turns(self):
        """Each is ready throughout, and all of them get there."""
        self.flock.apply({"cluster.yaml": flock.CLUSTER,
                          "apps/web/rest-api.yaml": rest_api(1, replicas=4, handOver=True)})
        self.flock.apply({"apps/web/rest-api.yaml": rest_api(2, replicas=4, handOver=True)})
        flock.eventually(lambda: self.running() == ["2"] * 4, self.running)

    def test_replicas_are_replaced_in_turns(self):
        self.flock.apply({"cluster.yaml": flock.CLUSTER,
                          "apps/web/rest-api.yaml": rest_api(1, replicas=4)})
        least, done = [4], threading.Event()

        def watch():
            while not done.is_set():
                least[0] = min(least[0], len(self.running()))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.flock.apply({"apps/web/rest-api.yaml": rest_api(2, replicas=4)})
            flock.eventually(lambda: self.running() == ["2"] * 4, self.running)
        finally:
            done.set()
            watcher.join()
        self.assertGreaterEqual(least[0], 3, "more than maxUnavailable were away")

    def runs(self, pi):
        return (pi.app("job") or {}).get("runs", [])

    def test_each_tick_of_a_cron_runs_once_and_is_remembered(self):
        self.flock.apply({"cluster.yaml": flock.CLUSTER, "apps/web/rest-api.yaml": None,
                          "apps/jobs/job.yaml": flock.workload(
                              "job", ["/bin/sh", "-c", "exit 3"], kind="CronWorkload",
                              schedule="@every 2s", restartPolicy="Never", historyLimit=10)})
        for pi in self.flock.pis:  # whichever one asks
            flock.eventually(lambda p=pi: len([r for r in self.runs(p) if r["exitCode"] == 3]) >= 3,
                             lambda p=pi: self.runs(p))
        runs = self.runs(self.flock.pi1)
        self.assertEqual(len({r["tick"] for r in runs}), len(runs), runs)
        self.assertEqual(len({r["node"] for r in runs}), 1, "it is placed on one node")
        self.assertIn("failed", self.flock.pi2.ctl("cron").stdout)


if __name__ == "__main__":
    flock.main()
