"""Repositories that mean no good: each push is refused with a reason, and the applied state is whole."""

import os

import flock
from flock import http_workload, run

API = "apps/web/rest-api.yaml"
FILES = {"cluster.yaml": flock.CLUSTER, API: http_workload("rest-api", replicas=2),
         "apps/web/vip.yaml": flock.VIP}
HEAD = "apiVersion: covey.dev/v1\nkind: Workload\nmetadata: {name: bad}\nspec:\n  command: [sleep]\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9))

# A name, the files of the commit (bytes or text), what the refusal says.
DOCUMENTS = [
    ("a bomb of aliases", {"apps/x/a.yaml": HEAD + "  env:\n" + "".join(
        "    " + line + "\n" for line in BOMB.splitlines())}, r"apps/x/a\.yaml:\d+: "),
    ("deep nesting", {"apps/x/a.yaml": "[" * 5000 + "]" * 5000}, r"apps/x/a\.yaml:1: .*nest"),
    ("a key twice", {"apps/x/a.yaml": HEAD + "  command: [a]\n"}, r"apps/x/a\.yaml:6: .*command"),
    ("a name of another app", {"apps/x/a.yaml": HEAD.replace("bad", "rest-api")},
     r"rest-api.*exists already"),
    ("no UTF-8", {"apps/x/a.yaml": HEAD.encode() + b"  user: \xff\xfe\n"}, r"apps/x/a\.yaml:\d+: "),
    ("a zero byte", {"apps/x/a.yaml": HEAD.encode() + b"  user: a\0b\n"}, r"apps/x/a\.yaml:\d+: "),
    ("a file of 2 MB", {"apps/x/a.yaml": "# " + "x" * (2 << 20)}, r"apps/x/a\.yaml.*1048576"),
    ("4,100 files", {f"apps/x/{n}.yaml": "#\n" for n in range(4100)}, r"4096"),
    ("a path out of its folder", {"apps/x/a.yaml": HEAD +
     "  files: [{path: ../../../etc/passwd, content: x}]\n"}, r"apps/x/a\.yaml:6: .*\.\."),
    ("a secret in the arguments", {"apps/x/a.yaml": HEAD + "  args: ['${secret:db/password}']\n"},
     r"apps/x/a\.yaml:6: .*read arguments"),
]


class Hostile(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.commit = cls.flock.apply(FILES)

    def setUp(self):
        self.processes = [pi.processes() for pi in self.flock.pis]

    def push(self, *options, reference="HEAD:main"):
        self.flock.git("commit", "-q", "--allow-empty", "-m", "hostile")
        result = self.flock.push_head(self.pi1, *options, reference=reference)
        self.flock.git("reset", "-q", "--hard", self.commit)
        self.flock.git("clean", "-qffdx")
        return result

    def whole(self):
        for pi, processes in zip(self.flock.pis, self.processes):
            self.assertEqual(pi.commit()["commit"], self.commit)
            self.assertEqual(pi.processes(), processes)
            self.assertEqual(pi.ctl("status").status, 0, pi.headline())

    def refused(self, expected):
        result = self.push()
        self.assertNotEqual(result.returncode, 0, "the push was accepted")
        self.assertRegex(result.stderr, expected)
        self.whole()

    def test_documents(self):
        for name, files, expected in DOCUMENTS:
            with self.subTest(name):
                for path, data in files.items():
                    file = self.flock.desired / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(data if isinstance(data, bytes) else data.encode())
                self.flock.git("add", "-A")
                self.refused(expected)

    def test_links_and_modules(self):
        (self.flock.desired / "apps/x").mkdir()
        (self.flock.desired / "apps/x/a.yaml").symlink_to("/etc/shadow")
        self.flock.git("add", "-A")
        self.refused(r"apps/x/a\.yaml.*symbolic link")
        self.flock.git("update-index", "--add", "--cacheinfo",
                       f"160000,{self.commit},apps/module")
        self.refused(r"apps/module.*submodule")

    def test_more_than_64_megabytes(self):
        file = self.flock.desired / "apps/x.bin"
        file.write_bytes(os.urandom(66 << 20))
        self.flock.git("-c", "core.compression=0", "add", "-A")
        self.refused(r"(exceeds|maximum|unpack|pack)")

    def test_another_history(self):
        self.flock.git("checkout", "-q", "--orphan", "other")
        result = self.push("--force", reference="HEAD:main")
        self.flock.git("checkout", "-q", "-f", "main")
        self.assertNotEqual(result.returncode, 0)
        self.whole()
        deleted = self.flock.push_head(self.pi1, reference=":main")
        self.assertNotEqual(deleted.returncode, 0)
        self.whole()

    def test_a_long_history(self):
        """2,000 commits at once are taken, and the other Pi has them at once too."""
        commits = "".join(
            f"commit refs/heads/long\nmark :{n}\ncommitter l <l@covey.invalid> {1700000000 + n} +0000\n"
            f"data 1\nx\nfrom {self.commit if n == 1 else f':{n - 1}'}\n\n" for n in range(1, 2001))
        run("git", "-C", self.flock.desired, "fast-import", "--quiet", input=commits)
        self.flock.git("reset", "-q", "--hard", "long")
        type(self).commit = self.flock.git("rev-parse", "HEAD").stdout.strip()
        self.assertEqual(self.flock.push_head(self.pi1).returncode, 0)
        self.flock.settle(self.commit)
        self.whole()


if __name__ == "__main__":
    flock.main()
