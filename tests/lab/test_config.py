"""Configurations that are wrong: what is said, where, and that nothing is left behind."""

import os
import shutil
import socket

import flock
from flock import ADDRESS, PORT, run

# lines behind the good ones, what is said: the first is line 6
MISTAKES = [
    ("nodename: pi1", r"agent\.yaml:6: .*nodename"),
    ("join: [pi1.local]", r"agent\.yaml:6: .*pi1\.local.*address of a host"),
    ("join: 10.0.0.1", r"agent\.yaml:6: .*list"),
    ("listen: nowhere", r"agent\.yaml:6: .*nowhere.*0\.0\.0\.0:8801"),
    ("listen: 10.77.0.11:99999", r"agent\.yaml:6: .*99999"),
    ("advertise: 0.0.0.0", r"agent\.yaml:6: .*0\.0\.0\.0.*address of a host"),
    ("role: leader", r"agent\.yaml:6: .*leader.*agent.*witness"),
    ("lease_min: 300ms", r"agent\.yaml:6: .*300ms.*250ms"),
    ("lease_min: 2s\nlease_max: 1s", r"agent\.yaml:7: .*1s.*shorter.*2s"),
    ("power_save: maybe", r"agent\.yaml:6: .*maybe.*true"),
    ("web:\n  listen: here", r"agent\.yaml:7: .*here.*127\.0\.0\.1:8800"),
    ("web:\n  hosts: [UPPER]", r"agent\.yaml:7: .*UPPER.*lower case"),
    ("web:\n  port: 80", r"agent\.yaml:7: .*port"),
    ("repository:\n  path: relative", r"agent\.yaml:7: .*relative.*absolute"),
    ("repository:\n  branch: -x", r"agent\.yaml:7: .*-x.*branch"),
    ("workload_user: 'No Body'", r"agent\.yaml:6: .*No Body"),
    ("role: [", r"agent\.yaml:\d+: "),
    ("role: agent\nrole: agent", r"agent\.yaml:7: .*role"),
    ("---\nnode: pi2", r"agent\.yaml:7: .*second document"),
]


class Config(flock.FlockTest):
    found = False

    def setUp(self):
        self.pi1.write_config()
        for folder in (self.pi1.state, self.pi1.run):
            shutil.rmtree(folder, ignore_errors=True)

    def tearDown(self):
        if self.pi1.process is not None and self.pi1.process.poll() is None:
            self.pi1.kill()

    def check(self, *arguments):
        return self.pi1.spawn("--config", self.pi1.config, *arguments)

    def fails(self, result, status, *words):
        self.assertEqual(result.returncode, status, result.stderr)
        self.assertRegex(result.stderr, "(?m)^agentd: ")
        self.assertEqual(result.stdout, "")
        for word in words:
            self.assertIn(word, result.stderr)

    def test_good(self):
        result = self.check("--check")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("agent.yaml is a valid configuration", result.stdout)
        self.assertFalse(self.pi1.state.exists(), "a check leaves nothing behind")

    def test_shipped_example(self):
        result = self.pi1.spawn("--check", "--config", flock.ROOT / "provisioning/agent.yaml")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_mistakes(self):
        for lines, expected in MISTAKES:
            with self.subTest(lines=lines):
                self.pi1.write_config(lines + "\n")
                for arguments in (["--check"], []):
                    result = self.check(*arguments)
                    self.fails(result, 1)
                    self.assertRegex(result.stderr, expected)
        self.assertFalse(self.pi1.state.exists(), "nothing was begun")

    def test_all_mistakes_at_once(self):
        self.pi1.write_config("role: leader\npower_save: maybe\n")
        self.fails(self.check("--check"), 1, "agent.yaml:6: ", "agent.yaml:7: ")

    def test_no_file(self):
        self.fails(self.pi1.spawn("--config", "/nonexistent/agent.yaml"), 1,
                   "/nonexistent/agent.yaml", "No such file")

    def test_wrong_arguments(self):
        for arguments in (["--confg", "x"], ["--config"], ["start"]):
            result = self.pi1.spawn(*arguments)
            self.fails(result, 2, arguments[0], "usage: agentd")
        self.assertIn("usage: agentd", self.pi1.spawn("--help").stdout)
        self.assertRegex(self.pi1.spawn("--version").stdout, r"^agentd \d+\.\d+\.\d+\n$")

    def stranger(self, kind, port):
        stranger = self.flock.socket("pi1", socket.AF_INET, kind)
        stranger.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            stranger.listen()
        return stranger

    def test_gossip_port_is_taken(self):
        with self.stranger(socket.SOCK_DGRAM, PORT):
            self.fails(self.check(), 1, f":{PORT}", "in use")

    def test_port_of_the_link_is_taken(self):
        """It is opened when there is a flock: to found one says so, and goes on at the next start."""
        self.pi1.start()
        with self.stranger(socket.SOCK_STREAM, PORT):
            result = self.pi1.ctl("init")
            self.assertEqual(result.status, 6, result.stderr)
            self.assertIn(f":{PORT}", result.stderr)
            self.assertIn("in use", result.stderr)
            self.assertIn("restart agentd", self.pi1.ctl("init").stderr)
        self.pi1.kill()
        self.pi1.start()
        self.assertEqual([m["name"] for m in self.pi1.items("members")], ["pi1"])
        self.pi1.kill()
        with self.stranger(socket.SOCK_STREAM, PORT):
            self.fails(self.check(), 1, f":{PORT}", "in use")

    def test_page_port_is_taken(self):
        with self.stranger(socket.SOCK_STREAM, 8800):
            self.fails(self.check(), 1, ":8800", "in use")

    def test_second_agent(self):
        """Of the same state: the first one is not disturbed."""
        self.pi1.start()
        self.fails(self.check(), 1)
        self.assertEqual(self.pi1.ctl("status").status, 3)

    def test_address_that_this_machine_has_not(self):
        self.pi1.write_config(f"listen: {ADDRESS['pi2']}:{PORT}\n")
        self.fails(self.check(), 1, ADDRESS["pi2"])

    def test_interface_that_does_not_exist(self):
        self.pi1.config.write_text(self.pi1.config.read_text().replace("wlan0", "wlan7"))
        self.fails(self.check(), 1, "interface: ", "wlan7", "expected one of: lo wlan0")

    def test_repository_of_nobody(self):
        self.pi1.write_config("repository: {user: covey-nobody}\n")
        self.fails(self.check(), 1, "covey-nobody", "Create it")

    def test_folders_that_may_not_be_written(self):
        """As another user than root, who may write everywhere."""
        locked = self.flock.folder / "locked"
        locked.mkdir(exist_ok=True)
        for key, path in (("state_dir", self.pi1.state), ("run_dir", self.pi1.run)):
            with self.subTest(key=key):
                self.pi1.write_config()
                text = self.pi1.config.read_text()
                for other in (self.pi1.state, self.pi1.run):
                    open_ = self.flock.folder / "open" / other.name
                    open_.mkdir(parents=True, exist_ok=True)
                    os.chown(open_, 65534, 65534)
                    text = text.replace(f"{other}\n", f"{locked / 'x' if other == path else open_}\n")
                self.pi1.config.write_text(text)
                result = run(*self.pi1.inside("setpriv", "--reuid=65534", "--clear-groups",
                                              flock.programs / "agentd", "--config",
                                              self.pi1.config), check=False, timeout=flock.WAIT_S)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(str(locked), result.stderr)
                self.assertIn("Permission denied", result.stderr)


if __name__ == "__main__":
    flock.main()
