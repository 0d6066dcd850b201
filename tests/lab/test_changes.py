"""What a push changes, and what it must leave alone."""

import json
import socket
from pathlib import Path

import flock
from flock import ADDRESS, eventually, http_workload, workload

ON_PI1 = {"nodeSelector": {"disk": "ssd"}}
ON_PI2 = {"nodeSelector": {"disk": "sd"}}
BASE = {"cluster.yaml": flock.CLUSTER, "apps/base/steady.yaml": http_workload("steady", replicas=2)}


class Changes(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply(BASE)

    def setUp(self):
        self.steady = self.pids("steady")
        self.assertEqual(len(self.steady), 2)

    def tearDown(self):
        """Whatever was tried: what it did not touch runs on, and all is gone when it leaves Git."""
        self.assertEqual(self.pids("steady"), self.steady)
        files = {str(f.relative_to(self.flock.desired)): None
                 for f in self.flock.desired.glob("apps/try/*")}
        self.flock.apply(files)
        eventually(lambda: self.pids("") == self.steady, lambda: self.pids(""))

    def pids(self, app):
        return {(pi.name, name): pid for pi in self.flock.pis for name, pid in pi.processes()
                if name.startswith(app)}

    def apply(self, *documents):
        return self.flock.apply({"apps/try/try.yaml": "\n---\n".join(documents)})

    def runs_on(self, pi, name):
        return eventually(lambda: self.pids(name).get((pi.name, f"{name}.0")) if
                          len(self.pids(name)) == 1 else None, lambda: self.pids(name))

    def answers(self, pi, port):
        client = self.flock.socket("client", socket.AF_INET, socket.SOCK_STREAM)
        client.settimeout(flock.WAIT_S)
        client.connect((ADDRESS[pi.name], port))
        client.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        self.assertIn(b" 200 ", client.recv(64))
        client.close()

    def environment(self, pid):
        return dict(v.decode().split("=", 1) for v in
                    Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if v)

    def test_only_what_changed_is_restarted(self):
        def documents(word, note):
            return (workload("one", ["sleep", "1000"], env=[{"name": "WORD", "value": word}],
                             **ON_PI1), f"# {note}\n" + workload("two", ["sleep", "1000"], **ON_PI1))

        self.apply(*documents("a", "first"))
        one, two = self.runs_on(self.pi1, "one"), self.runs_on(self.pi1, "two")
        self.apply(*documents("b", "second"))
        changed = eventually(lambda: (pid := self.runs_on(self.pi1, "one")) != one and pid,
                             "one was not restarted")
        self.assertEqual(self.environment(changed)["WORD"], "b")
        self.assertEqual(self.runs_on(self.pi1, "two"), two)

    def test_probes_and_replicas_restart_nothing(self):
        self.apply(http_workload("one", replicas=1))
        before = self.pids("one")
        self.apply(http_workload("one", replicas=2, readinessProbe={
            "tcpSocket": {"port": "http"}, "periodSeconds": 2}))
        after = self.pids("one")
        self.assertEqual(len(after), 2)
        self.assertLessEqual(before.items(), after.items())

    def test_replicas_down_and_up(self):
        self.apply(http_workload("one", replicas=2))
        both = self.pids("one")
        self.assertEqual({place for place, _ in both}, {"pi1", "pi2"})
        self.apply(http_workload("one", replicas=1))
        left = eventually(lambda: len(p := self.pids("one")) == 1 and p, lambda: self.pids("one"))
        self.assertLessEqual(left.items(), both.items())
        self.assertEqual(list(self.pi2.instances("one")), ["one.0"])
        self.apply(http_workload("one", replicas=2))
        self.assertLessEqual(left.items(), self.pids("one").items())
        self.assertEqual(len(self.pids("one")), 2)
        self.apply(http_workload("one", replicas=0))
        eventually(lambda: not self.pids("one"), lambda: self.pids("one"))

    def test_labels_choose_the_node(self):
        self.apply(workload("one", ["sleep", "1000"], **ON_PI1))
        self.runs_on(self.pi1, "one")
        self.apply(workload("one", ["sleep", "1000"], **ON_PI2))
        self.runs_on(self.pi2, "one")
        self.flock.push({"apps/try/try.yaml": workload("one", ["sleep", "1000"],
                                                       nodeSelector={"disk": "tape"})})
        eventually(lambda: not self.pids("one"), lambda: self.pids("one"))
        app = self.pi2.app("one")
        self.assertEqual((app["desired"], app["ready"]), (1, 0))
        self.assertIn("not placed", self.pi2.ctl("apps", "one").stdout)
        self.assertEqual(self.pi2.ctl("status").status, 3)
        # It is the cluster's document that gives a node its labels.
        self.flock.apply({"cluster.yaml": flock.CLUSTER.replace("{disk: sd}", "{disk: tape}")})
        self.runs_on(self.pi2, "one")
        self.flock.push({"cluster.yaml": flock.CLUSTER})

    def test_one_port_for_two(self):
        self.apply(http_workload("one", port=5100, **ON_PI1), http_workload("two", port=5100, **ON_PI1))
        ports = [self.pi2.instances(name)[f"{name}.0"]["ports"]["http"] for name in ("one", "two")]
        self.assertIn(5100, ports)
        self.assertEqual(len(set(ports)), 2)
        for name, port in zip(("one", "two"), ports):
            self.answers(self.pi1, port)
            self.assertEqual(self.environment(self.runs_on(self.pi1, name))["PORT"], str(port))

    def test_endpoints_follow_a_move(self):
        def documents(place):
            return (http_workload("server", port=5200, **place),
                    workload("asker", ["sleep", "1000"], **ON_PI2,
                             env=[{"name": "URL", "value": "http://${service:server/http}/"}]))

        def url():
            try:
                return self.environment(self.runs_on(self.pi2, "asker")).get("URL")
            except FileNotFoundError:  # it was replaced meanwhile
                return None

        self.apply(*documents(ON_PI1))
        self.assertEqual(url(), f"http://{ADDRESS['pi1']}:5200/")
        self.apply(*documents(ON_PI2))
        eventually(lambda: url() == f"http://{ADDRESS['pi2']}:5200/", url)
        self.runs_on(self.pi2, "server")

    def test_order_of_dependencies(self):
        """What depends on another starts when that is ready, wherever it runs."""
        self.apply(workload("after", ["sleep", "1000"], dependsOn=["before"], **ON_PI2),
                   http_workload("before", port=5300, **ON_PI1))
        since = {name: self.pi1.instances(name)[f"{name}.0"]["since"] for name in ("before", "after")}
        self.assertGreaterEqual(since["after"], since["before"])

    def test_virtual_address_comes_and_goes(self):
        def holders(address):
            return [pi.name for pi in self.flock.pis if address in pi.addresses()]

        def held(address):
            eventually(lambda: len(holders(address)) == 1, lambda: holders(address))

        vip = json.dumps({"apiVersion": "covey.dev/v1", "kind": "VirtualIP",
                          "metadata": {"name": "try"}, "spec": {"address": "10.77.0.220"}})
        self.apply(vip)
        held("10.77.0.220")
        self.apply(vip.replace("10.77.0.220", "10.77.0.221"))
        held("10.77.0.221")
        eventually(lambda: not holders("10.77.0.220"), lambda: holders("10.77.0.220"))
        self.flock.apply({"apps/try/try.yaml": None})
        eventually(lambda: not holders("10.77.0.221"), lambda: holders("10.77.0.221"))


if __name__ == "__main__":
    flock.main()
