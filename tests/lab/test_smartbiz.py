"""SmartBiz by a git push: PostgreSQL on one Pi, the programs, the nightly backup on the other Pi, and
the way back from it."""

import json

import flock
from flock import ROOT, eventually

EXAMPLE = ROOT / "provisioning/example/apps"
CLUSTER = (flock.CLUSTER.replace("{disk: ssd}", '{disk: ssd, data: "true"}')
           .replace("{disk: sd}", '{disk: sd, backup: "true"}'))
PASSWORD = "p@ss/w:rd"  # it goes by the environment, so no URL has to quote it


def example():
    """The documents of the example, switched on, with a backup each minute."""
    files = {f"apps/{path.relative_to(EXAMPLE)}": path.read_text()
             for app in ("postgres", "smartbiz") for path in (EXAMPLE / app).rglob("*") if path.is_file()}
    for name, variable in (("postgres", "POSTGRES_PASSWORD"), ("smartbiz", "PGPASSWORD")):
        document = f"apps/{name}/{name}.yaml"
        files[document] = (files[document].replace("replicas: 0", "replicas: 1")
                           .replace(f'# - {{name: {variable}, value: "${{secret:postgres/password}}"}}',
                                    f'- {{name: {variable}, value: "{PASSWORD}"}}')
                           .replace('"30 2 * * *"', '"* * * * *"').replace("suspend: true", "suspend: false"))
        assert PASSWORD in files[document]
    return files


class SmartBiz(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.flock.push({"cluster.yaml": CLUSTER, **example()})

    def ready(self, app):
        return eventually(
            lambda: next((i for i in self.pi1.instances(app).values() if i["state"] == "ready"), None),
            lambda: json.dumps(self.pi1.instances(app)) + self.pi1.ctl("logs", app).stdout[-3000:], seconds=80)

    def database(self, *command):
        address = flock.ADDRESS["pi1"]
        return self.flock.inside("pi2", "env", f"PGPASSWORD={PASSWORD}",
                                 f"DATABASE_URL=postgresql://covey@{address}:5432/covey", *command).stdout

    def test_from_a_push_to_a_restore(self):
        page = self.ready("smartbiz-ui")
        where = f"http://{flock.ADDRESS[page['node']]}:8080"

        def ask(*arguments):
            return self.flock.inside("client", "curl", "-s", "--max-time", "10", *arguments).stdout

        self.assertIn("<title>SmartBiz</title>", ask(where + "/"))
        made = json.loads(ask("-H", "Content-Type: application/json", "-d",
                              '{"name":"Kept","price_cents":1,"stock":3}', where + "/api/articles"))
        backups = self.pi2.state / "instances"
        kept = eventually(lambda: sorted(backups.glob("smartbiz-backup*/backups/*.dump")),
                          lambda: self.pi2.ctl("logs", "smartbiz-backup").stdout[-3000:], seconds=80)
        # A backup from before the article holds nothing of it: the next one counts.
        if "Kept" not in self.flock.inside("pi2", "sh", "-c", f"pg_restore -f - -a -t articles {kept[-1]}").stdout:
            kept = eventually(lambda: (now := sorted(backups.glob("smartbiz-backup*/backups/*.dump"))) != kept and now,
                              "another backup", seconds=80)
        self.database("psql", "-qX", "-h", flock.ADDRESS["pi1"], "-U", "covey", "covey", "-c",
                      "DROP TABLE articles, customers, orders, order_lines, stock_movements, audit, "
                      "idempotency_keys, schema_migrations CASCADE")
        self.assertIn('"status":500', ask(f"{where}/api/articles/{made['id']}"))
        script = EXAMPLE / "smartbiz/files/backup.sh"
        self.database("env", f"HOME={self.pi2.folder}", "sh", str(script), "restore", str(kept[-1]))
        found = json.loads(ask(f"{where}/api/articles/{made['id']}"))
        self.assertEqual((found["name"], found["stock"]), ("Kept", 3))
        ask("-X", "POST", "-H", "Content-Type: application/json", "-d", '{"change":1}',
            f"{where}/api/articles/{made['id']}/stock")
        self.assertEqual(json.loads(ask(f"{where}/api/articles/{made['id']}"))["stock"], 4)


if __name__ == "__main__":
    flock.main()
