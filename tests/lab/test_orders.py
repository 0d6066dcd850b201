"""The order pipeline by one git push: RabbitMQ and the four services from the example, with a sealed
password; a Pi dies meanwhile; orderctl proves that no order was lost, paid or shipped twice."""

import base64
import json
import os
import signal

import flock
from flock import eventually

CLUSTER = flock.CLUSTER.replace("{disk: sd}", '{disk: sd, data: "true"}')
SERVICES = {"order-generator": 1, "payment-service": 2, "fulfillment-service": 1,
            "notification-service": 1}
DOCUMENT = "apps/orders/orders.yaml"
FAST = "".join(f'    - {{name: {name}, value: "{value}"}}\n' for name, value in (
    ("INTERVAL_MIN", "0.5"), ("INTERVAL_MAX", "1"), ("DELAY_MIN", "0.05"), ("DELAY_MAX", "0.2")))


class Orders(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.switch_on("rabbitmq", "orders")
        text = (cls.flock.desired / DOCUMENT).read_text()
        cls.document = text.replace("  env:\n", "  env:\n" + FAST)
        cls.sealed = (cls.flock.desired / "apps/rabbitmq/secret.yaml").read_text()
        cls.flock.push({"cluster.yaml": CLUSTER, DOCUMENT: cls.document})

    def ready(self, app, count, nodes=("pi1", "pi2")):
        def found():
            ready = [i for i in self.pi2.instances(app).values() if i["state"] == "ready"]
            return (len(ready) == count and {i["node"] for i in ready} <= set(nodes)
                    and (ready or True))
        return eventually(found, lambda: json.dumps(self.pi2.instances(app)) + self.pi2.ctl(
            "logs", app).stdout[-3000:] + self.pi2.log_tail(10), seconds=100)

    def generate(self, on):
        """Switches the generator, which is the first document, and waits until it runs, or nothing
        waits in any queue."""
        text = self.document if on else self.document.replace("replicas: 1", "replicas: 0", 1)
        self.flock.push({DOCUMENT: text}, to=self.pi2)
        self.ready("order-generator", 1 if on else 0)
        if not on:
            eventually(lambda: sum(self.waiting().values()) == 0, self.waiting)

    # ---- what RabbitMQ says, to who has the password

    def password(self, app="rabbitmq"):
        pid = next(pid for name, pid in self.pi2.processes() if name.startswith(app))
        with open(f"/proc/{pid}/environ", "rb") as file:
            return next(v.decode().partition("=")[2] for v in file.read().split(b"\0")
                        if v.startswith(b"RABBITMQ_PASSWORD="))

    def has_new_password(self, app, old):
        try:
            return self.password(app) != old
        except (StopIteration, FileNotFoundError, ProcessLookupError):
            return False  # it is being replaced

    def ask(self, path, port=15672):
        return self.flock.inside("client", "curl", "-sf", "--max-time", "20", "-u",
                                 f"covey:{self.password()}",
                                 f"http://{self.pi2.address}:{port}{path}", check=False).stdout

    def waiting(self):
        """Messages that wait or are not acknowledged, by queue."""
        queues = json.loads(self.flock.inside(
            "pi2", "env", *self.broker(), "/bin/sh", "-c",
            'exec curl -sf -u "$RABBITMQ_USER:$RABBITMQ_PASSWORD" '
            f'"http://{self.pi2.address}:15672/api/queues?disable_stats=true&enable_queue_totals=true"'
        ).stdout)
        return {q["name"]: q["messages"] for q in queues if not q["name"].startswith("tap_")}

    def broker(self):
        return (f"RABBITMQ_HOST={self.pi2.address}", "RABBITMQ_USER=covey",
                f"RABBITMQ_PASSWORD={self.password()}")

    def orderctl(self, *arguments):
        return self.flock.inside("pi2", "env", *self.broker(), flock.programs / "orderctl",
                                 *arguments, check=False)

    def shipped(self):
        return self.pi2.ctl("logs", "notification-service").stdout.count("shipment_notification")

    def test_one_push_a_lost_pi_and_no_order_lost(self):
        self.assertEqual(self.ready("rabbitmq", 1)[0]["node"], "pi2", "where the label is")
        for app, count in SERVICES.items():
            instances = self.ready(app, count)
            self.assertEqual(len({i["node"] for i in instances}), count, "on different Pis")
        eventually(lambda: self.shipped() >= 3, lambda: self.pi2.ctl("logs", "payment-service").stdout[-2000:])
        # The sealed password is the only way in; the plugins answer.
        self.assertNotIn(self.password(), self.sealed + self.document)
        self.assertNotIn(base64.b64encode(self.password().encode()).decode(), self.sealed)
        self.assertIn('"covey"', self.ask("/api/whoami"))
        self.assert_refused("guess")
        self.assertIn("rabbitmq_connections", self.ask("/metrics", 15692))

        self.generate(False)
        begun = self.orderctl("tap", "start")
        self.assertEqual(begun.returncode, 0, begun.stderr)
        self.generate(True)
        eventually(lambda: self.shipped() >= 6, "orders to flow again")
        self.lose_pi1()
        # Both payment replicas share a Pi now, each on a port of its own.
        for app, count in SERVICES.items():
            self.ready(app, count, nodes=("pi2",))
        before = self.shipped()
        eventually(lambda: self.shipped() >= before + 5, "orders to flow on one Pi")
        self.assertEqual(len(set(self.ports("payment-service"))), 2)
        self.generate(False)
        checked = self.orderctl("check")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

        self.change_password()
        self.generate(True)
        before = self.shipped()
        eventually(lambda: self.shipped() >= before + 5, "orders to flow with the new password")
        self.generate(False)
        checked = self.orderctl("check")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def change_password(self):
        """As docs/pipeline.md says it."""
        old = self.password()
        (self.flock.desired / "apps/rabbitmq/secret.yaml").unlink()
        self.flock.run_switch_on("rabbitmq")
        self.flock.push({}, to=self.pi2)
        apps = {"rabbitmq": 1, **{app: count for app, count in SERVICES.items() if app != "order-generator"}}
        for app in apps:
            eventually(lambda app=app: self.has_new_password(app, old), f"{app} to get the new password",
                       seconds=100)
        for app, count in apps.items():
            self.ready(app, count, nodes=("pi2",))
        self.assert_refused(old)

    def assert_refused(self, password):
        refused = self.flock.inside("client", "curl", "-s", "-u", f"covey:{password}",
                                    f"http://{self.pi2.address}:15672/api/whoami").stdout
        self.assertIn("not_authorised", refused.replace("not_authorized", "not_authorised"))

    def ports(self, app):
        """PORT as each instance on pi2 was given it."""
        found = []
        for name, pid in self.pi2.processes():
            if name.startswith(app):
                with open(f"/proc/{pid}/environ", "rb") as file:
                    found += [v for v in file.read().split(b"\0") if v.startswith(b"PORT=")]
        return found

    def lose_pi1(self):
        """Agent, shims and workloads end at once, as by a pulled plug."""
        victims = [pid for _, pid in self.pi1.processes()]
        self.pi1.process.kill()
        self.pi1.process.wait(flock.WAIT_S)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    flock.LIMIT_S = 280
    flock.main()
