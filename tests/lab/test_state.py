"""What people ask of the desired state, and files that are written for workloads."""

import flock
from flock import eventually, http_workload, workload

API = "apps/web/rest-api.yaml"
READER = """apiVersion: covey.dev/v1
kind: Workload
metadata: {name: reader}
spec:
  command: [sh, -c, 'trap "cat $CONFIG_DIR/upstream" HUP; while :; do sleep 0.1; done']
  nodeSelector: {covey.dev/node: pi2}
  variables: {NAME: upstream}
  files:
    - path: upstream
      content: "${var:NAME} ${service:rest-api/http} end\\n"
      onChange: Signal
    - {path: etc/plain.conf, source: plain.conf, template: false}
"""
ROUTE = """apiVersion: covey.dev/v1
kind: Route
metadata: {name: api}
spec:
  hosts: [api.local]
  service: {name: rest-api}
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n"
FILES = {"cluster.yaml": flock.CLUSTER, API: http_workload("rest-api", replicas=1),
         "apps/web/vip.yaml": flock.VIP, "apps/web/route.yaml": ROUTE,
         "apps/web/reader.yaml": READER, "apps/web/files/plain.conf": "${node:regex}\n",
         "apps/old/map.yaml": CONFIG_MAP}


class State(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.commit = cls.flock.apply(FILES)

    def file(self, path):
        file = self.pi2.run / "files/reader.0" / path
        return file.read_text() if file.exists() else None

    def test_diff_has_the_exit_status_of_diff(self):
        folder = self.flock.desired
        same = self.pi1.ctl("diff", folder)
        self.assertEqual((same.status, same.stdout), (0, ""), same.stderr)
        (folder / API).write_text(http_workload("rest-api", replicas=2))
        (folder / "apps/web/route.yaml").unlink()
        try:
            differs = self.pi2.ctl("diff", folder)
            self.assertEqual(differs.status, 1, differs.stderr)
            self.assertEqual(differs.stdout, "~ Workload rest-api (replicas)\n- Route api\n")
            changes = self.pi1.json("diff", folder)["changes"]
            self.assertEqual(changes, [
                {"change": "change", "kind": "Workload", "name": "rest-api", "fields": ["replicas"]},
                {"change": "remove", "kind": "Route", "name": "api", "fields": []}])
            (folder / API).write_text("a: [1")
            wrong = self.pi1.ctl("diff", folder)
            self.assertGreater(wrong.status, 1)
            self.assertIn(API + ":2", wrong.stderr)
        finally:
            self.flock.git("checkout", "-q", ".")
        self.assertEqual(self.pi1.ctl("diff", self.commit[:10]).status, 0)
        self.assertGreater(self.pi1.ctl("diff", "nothing-like-that").status, 1)

    def test_get_lists_every_kind(self):
        kinds = {o["kind"]: o for o in self.pi1.items("get")}
        self.assertEqual(sorted(kinds), ["ConfigMap", "Route", "VirtualIP", "Workload"])
        self.assertEqual(kinds["ConfigMap"]["waitingFor"], "k3s")
        self.assertEqual(kinds["Route"], {
            "kind": "Route", "name": "api", "app": "web", "file": "apps/web/route.yaml", "line": 3,
            "hosts": ["api.local"], "path": "/", "workload": "rest-api", "port": "http"})
        table = self.pi1.ctl("get", "route").stdout.splitlines()
        self.assertEqual(table[1].split(), ["Route", "api", "web", "apps/web/route.yaml:3",
                                            "api.local/", "->", "rest-api/http"])
        self.assertEqual(self.pi1.ctl("get", "route", "nobody").status, 1)

    def test_history_names_what_failed_too(self):
        newest = self.pi1.json("history")["items"][0]
        self.assertEqual((newest["commit"], newest["state"], newest["running"]),
                         (self.commit, "applied", True))
        self.assertIn(self.commit[:10], self.pi2.ctl("history").stdout)

    def test_an_edited_file_is_brought_back(self):
        eventually(lambda: self.file("etc/plain.conf"), "the file is not there")
        file = self.pi2.run / "files/reader.0/etc/plain.conf"
        pid = self.pi2.instances("reader")["reader.0"]["pid"]
        file.chmod(0o600)
        file.write_text("edited by hand")
        eventually(lambda: self.file("etc/plain.conf") == "${node:regex}\n", "it stays edited")
        eventually(lambda: self.pi2.has_event("warning app/reader.0", "edited"), self.pi2.events)
        self.assertEqual(self.pi2.instances("reader")["reader.0"]["pid"], pid)

    def test_a_request_that_no_node_can_meet_is_told(self):
        self.flock.push({"apps/web/large.yaml": workload(
            "large", ["sleep", "1d"], resources={"requests": {"memory": "1Ti"}})})
        app = eventually(lambda: (self.pi1.app("large") or {}).get("pending"), self.pi1.headline)
        self.assertRegex(app, r"^no room for its requests \(1048576 MiB.*pi1 has \d+ of \d+ MiB")
        eventually(lambda: "no room" in self.pi2.ctl("apps", "large").stdout, self.pi2.headline)
        self.assertTrue(self.pi1.has_event("warning app/large", "run nowhere"))
        type(self).commit = self.flock.apply({"apps/web/large.yaml": None})

    def test_a_file_follows_the_endpoint_by_a_signal(self):
        before = self.pi2.instances("reader")["reader.0"]
        eventually(lambda: self.file("upstream"), "the file is not there")
        self.assertRegex(self.file("upstream"), r"^upstream [\d.]+:\d+ end\n$")
        self.assertEqual(self.file("etc/plain.conf"), "${node:regex}\n")
        where = self.pi1.instances("rest-api")["rest-api.0"]["node"]
        other = "pi2" if where == "pi1" else "pi1"
        text = self.file("upstream")
        type(self).commit = self.flock.apply({API: http_workload(
            "rest-api", replicas=1, nodeSelector={"covey.dev/node": other})})
        eventually(lambda: self.file("upstream") != text, lambda: self.file("upstream"))
        after = self.pi2.instances("reader")["reader.0"]
        self.assertEqual(after["pid"], before["pid"])  # it was told, not replaced
        eventually(lambda: self.file("upstream") in self.pi2.ctl("logs", "reader").stdout,
                   lambda: self.pi2.ctl("logs", "reader").stdout)
        type(self).commit = self.flock.apply({API: FILES[API]})


class Rollout(flock.FlockTest):
    """A commit that fails: the last good one runs again, on both Pis, and it is not tried again."""

    SYNC = "  sync: {healthTimeoutSeconds: 6}\n"

    @classmethod
    def prepare(cls):
        cls.files = {"cluster.yaml": flock.CLUSTER + cls.SYNC, "apps/web/vip.yaml": flock.VIP,
                     API: http_workload("rest-api", replicas=1)}
        cls.good = cls.flock.apply(cls.files)

    def health(self, pi):
        return pi.commit().get("health")

    def fails(self):
        """Pushes a commit whose workload never gets ready."""
        return self.flock.push({API: http_workload("rest-api", replicas=1, readinessProbe={
            "httpGet": {"path": "/not-there", "port": "http"}, "periodSeconds": 1})})

    def back(self, bad, good):
        for pi in self.flock.pis:
            eventually(lambda pi=pi: self.health(pi) == "rolled back" and
                       pi.commit()["commit"] == good, lambda pi=pi: pi.commit())
            self.assertEqual(pi.commit()["givenUp"], bad)
        # An agent that has just started knows nothing of the other node's yet.
        eventually(lambda: self.pi1.instances("rest-api").get("rest-api.0", {}).get("state") ==
                   "ready", lambda: self.pi1.instances("rest-api"))

    def test_back_to_the_last_good_one(self):
        for pi in self.flock.pis:
            eventually(lambda pi=pi: self.health(pi) == "good", lambda pi=pi: pi.commit())
        bad = self.fails()
        self.back(bad, self.good)
        self.assertIn("was given up", self.pi1.status()["headline"])
        entry = next(e for e in self.pi1.json("history")["items"] if e["commit"] == bad)
        self.assertEqual(entry["state"], "failed")
        self.assertTrue(self.pi1.has_event("error commit", bad[:10]) or
                        self.pi2.has_event("error commit", bad[:10]))
        # Not by a sync, and not by another life of the agent.
        self.pi2.ctl("sync")
        self.pi1.kill()
        self.pi1.start()
        self.back(bad, self.good)
        # A commit on top of it is tried, and called good.
        mended = self.flock.push({API: http_workload("rest-api", replicas=2)})
        for pi in self.flock.pis:
            eventually(lambda pi=pi: pi.commit().get("commit") == mended and
                       self.health(pi) == "good", lambda pi=pi: pi.commit())
        self.flock.settle(mended)


if __name__ == "__main__":
    flock.main()
