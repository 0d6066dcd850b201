"""Whose commits count; remotes, with and without a webhook; going back by a new commit."""

import hashlib
import hmac
import time

import flock
from flock import eventually, http_workload, run

API = "apps/web/rest-api.yaml"
FILES = {"cluster.yaml": flock.CLUSTER, API: http_workload("rest-api", replicas=1),
         "apps/web/vip.yaml": flock.VIP}


def key_pair(folder, name):
    path = folder / name
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path)
    return path


class Trust(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.ann = key_pair(cls.flock.folder, "ann")
        cls.eve = key_pair(cls.flock.folder, "eve")
        cls.first = cls.flock.apply(FILES)
        signers = cls.flock.folder / "signers"
        signers.write_text(f"ann@home {cls.ann.with_suffix('.pub').read_text()}")
        cls.flock.must(cls.pi1, "trust", "on", signers)
        cls.flock.must(cls.pi2, "trust", "on", signers)

    def commit(self, replicas, key=None):
        sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"] if key else []
        (self.flock.desired / API).write_text(http_workload("rest-api", replicas=replicas))
        self.flock.git(*sign, "commit", "-q", *(["-S"] if key else []), "--allow-empty", "-am",
                       f"{replicas} replicas")
        return self.flock.git("rev-parse", "HEAD").stdout.strip()

    def refused(self, expected):
        before = self.pi1.commit()["commit"]
        result = self.flock.push_head(self.pi1)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, expected)
        self.assertEqual(self.pi1.commit()["commit"], before)
        self.flock.git("reset", "-q", "--hard", "HEAD~1")

    def test_only_allowed_signers(self):
        self.commit(2)
        self.refused("is not signed")
        self.commit(2, self.eve)
        self.refused("not among the allowed signers")
        good = self.commit(2, self.ann)
        self.assertEqual(self.flock.push_head(self.pi1).returncode, 0)
        self.flock.settle(good)
        # An older commit with a good signature is no step forward.
        again = self.commit(1, self.ann)
        self.assertEqual(self.flock.push_head(self.pi1).returncode, 0)
        self.flock.settle(again)
        replay = self.flock.push_head(self.pi1, "--force", reference=f"{good}:main")
        self.assertNotEqual(replay.returncode, 0)
        self.assertEqual(self.pi1.commit()["commit"], again)
        # Back to it by a new commit: signed, or not at all.
        self.assertEqual(self.pi1.ctl("rollback", good).status, 5)
        self.assertEqual(self.pi1.ctl("rollback", good, "--key", self.eve).status, 1)
        back = self.flock.must(self.pi1, "rollback", good, "--key", self.ann)
        self.assertIn(f"goes back to {good[:10]}", back.stdout)
        eventually(lambda: all(len(pi.instances("rest-api")) == 2 for pi in self.flock.pis),
                   lambda: self.pi1.instances("rest-api"))
        newest = self.pi1.commit()["commit"]
        self.assertNotEqual(newest, good)
        self.flock.settle(newest)
        self.assertEqual(self.pi1.ctl("diff", good).status, 0)
        self.flock.git("fetch", "-q", self.pi1.repository, "main")
        self.flock.git("reset", "-q", "--hard", "FETCH_HEAD")

    def test_peers_check_too(self):
        self.flock.must(self.pi1, "trust", "off")
        before = self.pi2.commit()["commit"]
        unsigned = self.commit(1)
        self.assertEqual(self.flock.push_head(self.pi1).returncode, 0)
        eventually(lambda: self.pi1.commit()["commit"] == unsigned, self.pi1.headline)
        eventually(lambda: self.pi2.commit()["state"] == "failed", self.pi2.headline)
        self.assertIn("is not signed", self.pi2.commit()["reason"])
        self.assertEqual(self.pi2.commit()["commit"], before)


class Remote(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.origin = cls.flock.folder / "origin.git"
        run("git", "init", "-q", "--bare", "-b", "main", cls.origin)
        secret = cls.flock.folder / "secret"
        secret.write_text("correct horse\n")
        cls.pi1.kill()
        cls.pi1.write_config(
            "repository:\n  poll_seconds: 30\n"
            f"  webhook_secret_file: {secret}\n  remotes:\n"
            f"    - {{url: 'file://{cls.flock.folder}/not-there.git'}}\n"
            f"    - {{url: 'file://{cls.origin}'}}\n")
        cls.flock.write(FILES)
        cls.flock.git("push", "-q", cls.origin, "HEAD:main")
        cls.pi1.start()

    def hook(self, body, signature):
        return self.flock.inside(
            "client", "curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-H",
            f"X-Hub-Signature-256: {signature}", "-d", body, "http://10.77.0.11:8800/v1/webhook",
            check=False).stdout

    def test_the_second_remote_is_taken_and_a_webhook_hurries(self):
        commit = self.flock.git("rev-parse", "HEAD").stdout.strip()
        for pi in self.flock.pis:
            eventually(lambda pi=pi: pi.commit().get("commit") == commit, pi.headline)
        commit = self.flock.write({API: http_workload("rest-api", replicas=2)})
        self.flock.git("push", "-q", self.origin, "HEAD:main")
        body = '{"ref": "refs/heads/main"}'
        right = "sha256=" + hmac.new(b"correct horse", body.encode(), hashlib.sha256).hexdigest()
        self.assertEqual(self.hook(body, right[:-1] + "x"), "403")
        self.assertEqual(self.hook(body + " ", right), "403")
        began = time.monotonic()
        self.assertEqual(self.hook(body, right), "202")
        eventually(lambda: self.pi2.commit().get("commit") == commit, self.pi2.headline)
        print(f"webhook to commit on the other node: {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    flock.main()
