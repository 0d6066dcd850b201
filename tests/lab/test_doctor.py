"""agentctl doctor: each fault that can be made here is found, and nothing is said without one."""

import json
import os
import unittest

import flock
from flock import CLUSTER, VIP, Flock, eventually, main, run


class Doctor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.flock = Flock()
        cls.pi = cls.flock.pi1
        cls.namespace = f"{cls.flock.prefix}-pi1"
        try:
            cls.flock.apply({"cluster.yaml": CLUSTER, "apps/edge/front.yaml": VIP})
        except BaseException:
            cls.flock.down()
            raise

    @classmethod
    def tearDownClass(cls):
        cls.flock.down()

    def doctor(self, *before, root=None):
        """The findings by name. @before: words in front of agentctl."""
        command = [*before, flock.programs / "agentctl", "--socket", self.pi.run / "agent.sock",
                   "-o", "json", "doctor"]
        environment = {**os.environ, "COVEY_DOCTOR_ROOT": str(root)} if root else None
        result = run(*self.pi.inside(*command), check=False, env=environment)
        document = json.loads(result.stdout)
        self.assertEqual(result.returncode, 0 if document["good"] else 3, result.stderr)
        return {item["name"]: item for item in document["items"]}

    def expect(self, findings, name, result, *words):
        finding = findings[name]
        self.assertEqual(finding["result"], result, finding)
        if result in ("warning", "bad"):
            self.assertTrue(finding["cause"] and finding["evidence"] and finding["fix"], finding)
        for word in words:
            self.assertIn(word, f"{finding['cause']} {finding['evidence']} {finding['fix']}")

    def ip(self, *arguments):
        run("ip", "-n", self.namespace, *arguments)

    def sysctl(self, setting):
        run(*self.pi.inside("sysctl", "-qw", setting))

    def test_nothing_is_wrong(self):
        findings = self.doctor()
        for name in ("agent", "members", "foreign-host", "interface", "arp_ignore", "rp_filter",
                     "fence"):
            self.expect(findings, name, "ok")
        self.expect(findings, "power-save", "skipped", "no WiFi")

    def test_a_second_interface_in_the_network(self):
        self.ip("link", "add", "eth7", "type", "veth", "peer", "name", "eth8")
        try:
            self.ip("address", "add", "10.77.0.77/24", "dev", "eth7", "noprefixroute")
            for link in ("eth7", "eth8"):
                self.ip("link", "set", link, "up")
            self.sysctl("net.ipv4.conf.wlan0.rp_filter=1")
            findings = self.doctor()
            self.expect(findings, "arp_ignore", "bad", "eth7", "sysctl -w")
            self.expect(findings, "rp_filter", "bad", "eth7", "wlan0")
            self.sysctl("net.ipv4.conf.wlan0.arp_ignore=1")
            self.sysctl("net.ipv4.conf.wlan0.rp_filter=2")
            findings = self.doctor()
            self.expect(findings, "arp_ignore", "ok")
            self.expect(findings, "rp_filter", "ok")
        finally:
            self.ip("link", "del", "eth7")
            self.sysctl("net.ipv4.conf.wlan0.arp_ignore=0")
            self.sysctl("net.ipv4.conf.wlan0.rp_filter=0")

    def test_an_agent_may_set_what_it_would_complain_of(self):
        pi = self.flock.pi2
        pi.write_config("arp_settings: set\n")
        pi.kill()
        pi.start()
        self.flock.settle()
        value = run(*pi.inside("sysctl", "-n", "net.ipv4.conf.wlan0.arp_ignore")).stdout
        self.assertEqual(value.strip(), "1")
        self.assertTrue(pi.has_event("arp_ignore is set to 1"))

    def test_rules_that_somebody_flushed(self):
        owner = eventually(lambda: self.pi.vip().get("owner"), "no owner")
        if owner == "pi1":  # the holder sets them up again at once
            self.flock.must(self.pi, "vip", "move", "front", "pi2")
        run(*self.pi.inside("nft", "delete", "table", "arp", "covey"))
        self.expect(self.doctor(), "fence", "bad", "nft list table arp covey")
        self.flock.must(self.pi, "vip", "move", "front", "pi1")
        self.expect(self.doctor(), "fence", "ok")

    def test_a_foreign_host(self):
        client = f"{self.flock.prefix}-client"
        link = run("ip", "-n", client, "-j", "link", "show", "wlan0").stdout
        run("ip", "-n", client, "address", "add", "10.77.0.211/24", "dev", "wlan0")
        self.flock.push({"apps/edge/second.yaml": VIP.replace("front", "second")})
        eventually(lambda: any(v["foreignMac"] for v in self.pi.items("vip")), "no foreign host")
        self.expect(self.doctor(), "foreign-host", "bad", json.loads(link)[0]["address"],
                    "10.77.0.211")
        run("ip", "-n", client, "address", "del", "10.77.0.211/24", "dev", "wlan0")
        self.flock.apply({"apps/edge/second.yaml": None})

    def test_a_full_disk(self):
        mount = 'mount -t tmpfs -o "size=$0" tmpfs "$1" && shift && exec "$@"'
        for size, result in (("50m", "bad"), ("300m", "warning"), ("600m", "ok")):
            findings = self.doctor("unshare", "-m", "sh", "-c", mount, size, self.pi.state)
            self.expect(findings, "disk", result, str(self.pi.state))

    def test_what_the_kernel_and_the_firmware_tell(self):
        root = self.pi.folder / "root"
        firmware = root / "sys/devices/platform/soc/soc:firmware"
        cgroup = root / "sys/fs/cgroup"
        device = root / "sys/class/net/wlan0/device"
        for folder in (firmware, cgroup, device, root / "proc"):
            folder.mkdir(parents=True, exist_ok=True)
        throttled = firmware / "get_throttled"
        controllers = cgroup / "cgroup.controllers"
        for value, result in (("0", "ok"), ("50000", "warning"), ("50005", "bad")):
            throttled.write_text(value + "\n")
            self.expect(self.doctor(root=root), "voltage", result)
        controllers.write_text("cpuset cpu io memory pids\n")
        self.expect(self.doctor(root=root), "cgroups", "ok")
        controllers.write_text("cpuset cpu io pids\n")
        self.expect(self.doctor(root=root), "cgroups", "warning", "memory", "cmdline.txt")
        self.expect(self.doctor(root=root), "firmware-arp", "skipped")
        (device / "driver").symlink_to("../../../../bus/sdio/drivers/brcmfmac")
        self.expect(self.doctor(root=root), "firmware-arp", "bad", "promisc on")
        self.ip("link", "set", "wlan0", "promisc", "on")
        self.expect(self.doctor(root=root), "firmware-arp", "ok")
        self.ip("link", "set", "wlan0", "promisc", "off")

    def test_nobody_answers(self):
        result = run(flock.programs / "agentctl", "--socket", "/nowhere", "doctor", check=False)
        self.assertEqual(result.returncode, 4)
        self.assertIn("The agent does not answer", result.stdout)
        self.assertIn("interface", result.stdout)


if __name__ == "__main__":
    main()
