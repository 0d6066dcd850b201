"""What a document gives a workload and takes from it, as its process sees it."""

import json
import pwd
import shutil
import tempfile
from pathlib import Path

import flock
from flock import eventually, workload

ON_PI1 = {"nodeSelector": {"disk": "ssd"}}
OWN_USERS = 2000000000
NET_BIND_SERVICE = 1 << 10

# {0}: a folder that everybody may write to; {1}: another; {2}: a file in /tmp.
LOOK = """
import json, os, resource, time
def may_write(folder):
    try:
        open(folder + "/" + os.environ["INSTANCE"], "w").close()
        return True
    except OSError:
        return False
status = dict(line.rstrip("\\n").split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({{
    "own user": os.getuid() >= {own}, "user": os.getuid(), "writes": may_write("{0}"),
    "writes elsewhere": may_write("{1}"), "sees /tmp": os.path.exists("{2}"),
    "writes /tmp": may_write("/tmp"), "no new privileges": status["NoNewPrivs"],
    "capabilities": [int(status[key], 16) for key in ("CapEff", "CapPrm", "CapBnd")],
    "filter": status["Seccomp"], "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    "oom": open("/proc/self/oom_score_adj").read().strip()}}), flush=True)
time.sleep(1000)
"""
HOOKED = """
trap 'echo asked >>steps; exit 0' INT
echo runs >>steps
while :; do sleep 0.05; done
"""


def step(word):
    return {"exec": {"command": ["/bin/sh", "-c", f"echo {word} >>steps"]}}


class Privileges(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.folders = [Path(tempfile.mkdtemp(prefix="covey-lab-", dir="/srv")) for _ in range(2)]
        for folder in cls.folders:
            cls.addClassCleanup(shutil.rmtree, folder)
            folder.chmod(0o777)
        cls.seen = tempfile.NamedTemporaryFile(prefix="covey-lab-", dir="/tmp")
        cls.addClassCleanup(cls.seen.close)
        cls.flock.apply({"cluster.yaml": flock.CLUSTER})

    def look(self, **specs):
        """What each workload sees of itself, by name."""
        script = LOOK.format(*self.folders, self.seen.name, own=OWN_USERS)
        self.flock.push({f"apps/x/{name}.yaml": workload(name, ["/usr/bin/python3", "-c", script],
                                                         **spec, **ON_PI1)
                         for name, spec in specs.items()})
        seen = {}
        for name in specs:
            seen[name] = json.loads(eventually(
                lambda: self.pi1.ctl("logs", name, "--raw").stdout,
                lambda: self.pi1.ctl("apps", name).stdout))
        self.flock.apply({f"apps/x/{name}.yaml": None for name in specs})
        return seen

    def test_each_is_relaxed_by_its_name_and_nothing_else(self):
        security = lambda **fields: {"securityContext": fields}
        seen = self.look(
            plain={}, root=security(readOnlyRootFilesystem=False), tmp=security(privateTmp=False),
            rise=security(allowPrivilegeEscalation=True),
            bind=security(capabilities={"add": ["NET_BIND_SERVICE"]}),
            calls=security(seccompProfile={"type": "Unconfined"}),
            path=security(writablePaths=[str(self.folders[0])]), nobody={"user": "nobody"},
            files={"resources": {"limits": {"openFiles": 123}}}, first={"oomScoreAdjust": "300"})
        plain = seen["plain"]
        self.assertEqual({key: plain[key] for key in plain if key not in ("user", "files")}, {
            "own user": True, "writes": False, "writes elsewhere": False, "sees /tmp": False,
            "writes /tmp": True, "no new privileges": "1", "capabilities": [0, 0, 0], "filter": "2",
            "oom": "0"})
        gained = seen["rise"]["capabilities"]  # sudo must be able to give what it has
        self.assertGreater(gained[2], 0)
        nobody = pwd.getpwnam("nobody").pw_uid
        for name, differs in {
                "root": {"writes": True, "writes elsewhere": True}, "tmp": {"sees /tmp": True},
                "rise": {"no new privileges": "0", "capabilities": [0, 0, gained[2]]}, "bind": {"capabilities": [NET_BIND_SERVICE] * 3},
                "calls": {"filter": "0"}, "path": {"writes": True},
                "nobody": {"own user": False, "user": nobody}, "files": {"files": 123},
                "first": {"oom": "300"}}.items():
            user = {"user": seen[name]["user"]}
            self.assertEqual(seen[name], {**plain, **user, **differs}, name)
        users = [found["user"] for found in seen.values()]
        self.assertEqual(len(set(users)), len(users), "each has a user of its own")

    def test_hooks_and_the_signal_of_its_stop(self):
        document = lambda replicas: {"apps/x/hooked.yaml": workload(
            "hooked", ["/bin/sh", "-c", HOOKED], replicas=replicas, stopSignal="SIGINT",
            lifecycle={"preStart": step("before"), "postStop": step("after")}, **ON_PI1)}
        steps = self.pi1.state / "instances/hooked.0/steps"
        self.flock.apply(document(1))
        eventually(lambda: steps.read_text().split() == ["before", "runs"], steps.read_text)
        self.flock.apply(document(0))
        eventually(lambda: steps.read_text().split() == ["before", "runs", "asked", "after"],
                   steps.read_text)


if __name__ == "__main__":
    flock.main()
