"""/metrics of agentd, as the programs that scrape it read it."""

import re
import subprocess

import flock
from flock import eventually, http_workload
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

# Of itself, of each workload, of the node. What a machine does not have is left out (tests/unit/test_host.c).
ALWAYS = ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
          "covey_build_info", "covey_members_alive", "covey_datagrams_total",
          "covey_instance_state", "covey_instance_restarts_total", "covey_instance_cpu_seconds_total",
          "covey_instance_memory_bytes", "covey_instance_processes", "covey_instance_log_lines_total",
          "covey_instance_log_dropped_total", "covey_instance_probe_seconds",
          "covey_workload_replicas_ready", "covey_node_load1", "covey_node_disk_free_bytes"]


class Metrics(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.apply({"cluster.yaml": flock.CLUSTER,
                         "apps/x/rest-api.yaml": http_workload("rest-api", replicas=2)})

    def scrape(self, accept):
        return self.flock.inside("pi1", "curl", "-s", "-D", "/dev/stderr", "-H", f"Accept: {accept}",
                                 "http://127.0.0.1:8800/metrics")

    def test_prometheus_takes_its_text(self):
        found = self.scrape("text/plain")
        self.assertRegex(found.stderr, r"(?i)content-type: text/plain; version=0\.0\.4")
        check = subprocess.run(["promtool", "check", "metrics"], input=found.stdout, text=True,
                               capture_output=True)
        self.assertEqual((check.returncode, check.stdout + check.stderr), (0, ""))

    def test_open_metrics_is_valid(self):
        found = self.scrape("application/openmetrics-text; version=1.0.0")
        self.assertRegex(found.stderr, r"(?i)content-type: application/openmetrics-text; version=1\.0\.0")
        samples = [s for family in open_metrics(found.stdout) for s in family.samples]
        names = {s.name for s in samples}
        self.assertIn("process_cpu_seconds_total", names)

    def test_everything_is_there(self):
        text = eventually(lambda: "covey_instance_probe_seconds{" in (t := self.scrape(
            "text/plain").stdout) and t, "a probe was answered")
        for name in ALWAYS:
            self.assertRegex(text, rf"(?m)^{name}[ {{]", name)
        instance = next(iter(i for i in self.pi1.instances("rest-api").values()
                             if i["node"] == "pi1"))["name"]
        self.assertRegex(text, rf'covey_instance_state{{instance="{instance}",state="ready"}} 1')
        self.assertGreater(float(re.search(
            rf'covey_instance_memory_bytes{{instance="{instance}"}} (\S+)', text).group(1)), 1e5)


if __name__ == "__main__":
    flock.main()
