"""PostgreSQL and RabbitMQ of Debian's packages, from the example's documents, as workloads."""

import flock
from flock import ROOT, eventually

EXAMPLE = ROOT / "provisioning/example/apps"
CLUSTER = flock.CLUSTER.replace("{disk: sd}", '{disk: sd, data: "true"}')
PASSWORD = "it's a \\\"secret\\\""  # as it stands in YAML; a shell and SQL might stumble over it


def example(app):
    """The documents of the example, switched on."""
    files = {f"apps/{app}/{path.relative_to(EXAMPLE / app)}": path.read_text()
             for path in (EXAMPLE / app).rglob("*") if path.is_file()}
    document = f"apps/{app}/{app}.yaml"
    name = app.upper() if app == "rabbitmq" else "POSTGRES"
    files[document] = (files[document].replace("replicas: 0 # on: 1", "replicas: 1")
                       .replace("  ports:", f'    - {{name: {name}_PASSWORD, value: "{PASSWORD}"}}\n'
                                            "  ports:", 1))
    return files


class Stateful(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.files = {"cluster.yaml": CLUSTER, **example("postgres"), **example("rabbitmq")}
        cls.flock.push(cls.files)

    def ready(self, app):
        instance = eventually(
            lambda: next((i for i in self.pi2.instances(app).values() if i["state"] == "ready"),
                         None), lambda: self.pi2.ctl("logs", app).stdout[-3000:], seconds=60)
        self.assertEqual(instance["node"], "pi2", "it is pinned to the node with the label")
        return instance

    def stop(self, app, word):
        """Switched off, it ends in its own proper way."""
        document = f"apps/{app}/{app}.yaml"
        self.flock.push({document: self.files[document].replace("replicas: 1", "replicas: 0")})
        eventually(lambda: self.pi2.has_event(f"{app}.0 ended with exit code 0"),
                   lambda: self.pi2.log_tail(), seconds=60)
        log = self.pi2.state / "logs" / f"{app}.0" / "log"
        self.assertIn(word, log.read_text())

    def psql(self, statement):
        password = PASSWORD.replace('\\"', '"')
        return self.flock.inside("pi1", "env", f"PGPASSWORD={password}", "psql", "-qAt", "-h",
                                 flock.ADDRESS["pi2"], "-U", "covey", "covey", "-c",
                                 statement).stdout

    def test_postgres(self):
        self.ready("postgres")
        self.psql("CREATE TABLE t (a int); INSERT INTO t VALUES (42)")
        self.stop("postgres", "database system is shut down")
        self.flock.push({"apps/postgres/postgres.yaml": self.files["apps/postgres/postgres.yaml"]})
        self.ready("postgres")
        self.assertEqual(self.psql("SELECT a FROM t"), "42\n")

    def test_rabbitmq(self):
        self.ready("rabbitmq")
        self.stop("rabbitmq", "stopped TCP listener on 10.77.0.12")


if __name__ == "__main__":
    flock.main()
