"""What people push: taken on either Pi, refused with file and line, healed after a divergence."""

import flock
from flock import eventually, http_workload, workload

API = "apps/web/rest-api.yaml"
FILES = {"cluster.yaml": flock.CLUSTER, API: http_workload("rest-api", replicas=2),
         "apps/web/vip.yaml": flock.VIP}

HEAD = "apiVersion: covey.dev/v1\nkind: Workload\nmetadata: {name: other}\nspec:\n"

# path, text, what the refusal says: each is one mistake in an otherwise good state.
MISTAKES = [
    ("apps/x/a.yaml", "a: [1\nb: 2\n", r"apps/x/a\.yaml:2: "),
    ("apps/x/a.yaml", HEAD + "  command: [a]\n  command: [b]\n", r"apps/x/a\.yaml:6: .*command"),
    ("apps/x/a.yaml", HEAD + "  command: [sleep]\n  replica: 2\n", r"apps/x/a\.yaml:6: .*replica"),
    ("apps/x/a.yaml", HEAD + "  command: [sleep]\n  replicas: two\n",
     r"apps/x/a\.yaml:6: .*replicas.*two"),
    ("apps/x/a.yaml", HEAD + "  command: [sleep]\n  replicas: 1000\n", r"apps/x/a\.yaml:6: .*1000"),
    ("apps/x/a.yaml", HEAD + "  replicas: 1\n", r"apps/x/a\.yaml:\d+: .*command"),
    ("apps/x/a.yaml", HEAD + "  command: sleep\n", r"apps/x/a\.yaml:5: .*command"),
    ("apps/x/a.yaml", HEAD + "  command: [a]\n  restartPolicy: Sometimes\n",
     r"apps/x/a\.yaml:6: .*Sometimes.*Always"),
    ("apps/x/a.yaml", HEAD.replace("Workload", "Wokload") + "  command: [a]\n",
     r"apps/x/a\.yaml:2: .*Wokload"),
    ("apps/x/a.yaml", HEAD.replace("other", "No Name") + "  command: [a]\n",
     r"apps/x/a\.yaml:3: .*No Name"),
    ("apps/x/a.yaml", HEAD.replace("other", "rest-api") + "  command: [a]\n",
     r"apps/(x/a|web/rest-api)\.yaml:\d+: .*rest-api.*apps/(x/a|web/rest-api)\.yaml:\d+"),
    ("apps/x/a.yaml", HEAD + "  command: [a]\n  env:\n    - {name: X, value: '${service:nobody/http}'}"
     "\n", r"apps/x/a\.yaml:7: .*nobody"),
    ("apps/x/a.yaml", HEAD + "  command: [a]\n  dependsOn: [other]\n", r"apps/x/a\.yaml:\d+: .*other"),
    ("apps/x/a.yaml", HEAD + "  command: [a]\n  readinessProbe:\n"
     "    httpGet: {path: /, port: http}\n", r"apps/x/a\.yaml:\d+: .*http"),
    ("apps/x/a.yaml", HEAD.replace("Workload", "CronWorkload") +
     "  command: [a]\n  schedule: '61 * * * *'\n", r"apps/x/a\.yaml:6: .*61"),
    ("apps/x/a.yaml", flock.VIP.replace("front", "back").replace("solo", "sole"),
     r"apps/x/a\.yaml:4: .*sole.*solo"),
    ("apps/x/a.yaml", flock.VIP.replace("front", "back").replace("mode", "address: 10.9.9.9, mode"),
     r"apps/x/a\.yaml:4: .*10\.9\.9\.9"),
    ("cluster.yaml", flock.CLUSTER.replace("10.77.0.230", "10.77.0.200"),
     r"cluster\.yaml:5: .*10\.77\.0\.2"),
    ("cluster.yaml", flock.CLUSTER.replace("name: pi2", "name: pi1"), r"cluster\.yaml:9: .*pi1"),
]


class Push(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.commit = cls.flock.apply(FILES)

    def applied(self):
        return [pi.commit().get("commit") for pi in self.flock.pis]

    def refused(self, reference="HEAD:main", *options):
        """Pushes to pi1, expects a refusal that changes nothing, and returns what Git says."""
        before = [pi.processes() for pi in self.flock.pis]
        result = self.flock.push_head(self.pi1, *options, reference=reference)
        self.assertNotEqual(result.returncode, 0, "the push was accepted")
        for pi, processes in zip(self.flock.pis, before):
            heads = self.flock.git("for-each-ref", "--format=%(refname) %(objectname)",
                                   folder=pi.repository).stdout.split("\n")
            self.assertEqual(heads[:-1], [f"refs/heads/main {self.commit}"])
            self.assertEqual(pi.processes(), processes)
        self.assertEqual(self.applied(), [self.commit] * 2)
        self.assertEqual(self.pi1.ctl("status").status, 0)
        return result.stderr

    def test_push_to_the_other_pi(self):
        for pi in (self.pi2, self.pi1, self.pi2):
            type(self).commit = self.flock.apply({}, to=pi)
            self.assertEqual(self.applied(), [self.commit] * 2)

    def test_mistakes_name_file_and_line(self):
        for path, text, expected in MISTAKES:
            with self.subTest(text=text):
                self.flock.write({path: text})
                self.assertRegex(self.refused(), expected)
                self.flock.git("reset", "-q", "--hard", "HEAD~1")

    def test_every_mistake_is_named_at_once(self):
        self.flock.write({"apps/x/a.yaml": "a: [1\n", "apps/x/b.yaml": HEAD + "  replicas: x\n"})
        said = self.refused()
        self.flock.git("reset", "-q", "--hard", "HEAD~1")
        self.assertIn("apps/x/a.yaml:", said)
        self.assertIn("apps/x/b.yaml:5: ", said)

    def test_history_is_not_rewritten(self):
        self.flock.git("checkout", "-q", "--orphan", "rewritten")
        self.flock.write({})
        self.refused("HEAD:main", "--force")
        self.flock.git("checkout", "-q", "main")
        self.assertIn("cannot be deleted", self.refused(":main"))

    def test_other_references(self):
        self.assertIn("branch main only", self.refused("HEAD:refs/heads/try"))
        self.assertIn("branch main only", self.refused("HEAD:refs/tags/v1"))

    def test_push_while_the_agent_is_dead(self):
        """Accepted by Git, said so, and applied when the agent is back."""
        self.pi1.kill()
        self.flock.write({})
        result = self.flock.push_head(self.pi1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("accepted, but not applied yet", result.stderr)
        self.pi1.start()
        type(self).commit = self.flock.git("rev-parse", "HEAD").stdout.strip()
        self.flock.settle(self.commit)

    def test_divergence_is_shown_and_healed_by_a_merge(self):
        self.flock.cut()
        for pi in self.flock.pis:
            eventually(lambda: pi.member(self.flock.other(pi).name)["state"] == "dead", pi.headline)
        heads = []
        for pi in self.flock.pis:
            heads.append(self.flock.push({f"apps/x/{pi.name}.yaml": workload(
                f"on-{pi.name}", ["sleep", "1000"], nodeSelector={"disk": "ssd"})}, to=pi))
            eventually(lambda: pi.commit().get("commit") == heads[-1], pi.headline)
            self.flock.git("branch", pi.name)
            self.flock.git("reset", "-q", "--hard", self.commit)
        self.flock.heal()
        for pi, head in zip(self.flock.pis, heads):
            eventually(lambda: pi.commit()["state"] == "diverged", pi.headline)
            self.assertEqual(pi.commit()["commit"], head, "each goes on with its own")
            self.assertEqual(pi.ctl("status").status, 3)
            other = self.flock.other(pi)
            eventually(lambda: pi.member(other.name)["commit"]["state"] == "diverged", pi.headline)
        self.flock.git("merge", "-q", "pi1", "pi2")
        type(self).commit = self.flock.git("rev-parse", "HEAD").stdout.strip()
        result = self.flock.push_head(self.pi2)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.flock.settle(self.commit)
        self.assertEqual([pi.commit()["state"] for pi in self.flock.pis], ["applied"] * 2)
        names = self.pi1.instances()
        self.assertEqual({names["on-pi1.0"]["node"], names["on-pi2.0"]["node"]}, {"pi1"})


if __name__ == "__main__":
    flock.main()
