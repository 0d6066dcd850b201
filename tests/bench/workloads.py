"""Measures for tests/bench/workloads (see there). Every pair is measured in turns on the same machine,
client and database included; of several rounds the median counts."""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "smartbiz"))
from report import cpu_seconds, machine, median, quantile, revision  # noqa: E402
from rig import Postgres  # noqa: E402

PEERS = os.path.join(HERE, "peers")
CONNECTIONS = 32
ARTICLES = 1000


class Server:
    """A program with its children, in a process group of its own, logging to nowhere."""

    def __init__(self, command, path, **environment):
        self.port = free_port()
        command = [part.replace("{port}", str(self.port)) for part in command]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=PEERS, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port), **environment}, start_new_session=True)
        self.start_ms = self.first_answer(path)

    def first_answer(self, path):
        """Milliseconds from the start to the first success at @path."""
        ask = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        while time.perf_counter() - self.began < 60:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.process.args[0]} ended with {self.process.returncode}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as one:
                    one.sendall(ask)
                    if b" 200 " in one.recv(64):
                        return (time.perf_counter() - self.began) * 1000
            except OSError:
                pass
            time.sleep(0.001)
        raise SystemExit(f"{self.process.args[0]} does not answer")

    def rss(self):
        return rss(self.process.pid)

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def rss(pid):
    """MiB of a process and its children."""
    total = 0
    for one in family(pid):
        with open(f"/proc/{one}/smaps_rollup", encoding="ascii") as file:
            total += int(re.search(r"^Rss:\s+(\d+)", file.read(), re.M).group(1))
    return total / 1024


def family(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                found += family(int(child))
    return found


class Bench:
    def __init__(self, options):
        self.options = options
        self.seconds = 2 if options.quick else 5
        self.rounds = 1 if options.quick else 3
        self.folder = tempfile.mkdtemp(prefix="covey-bench-")
        self.samples = {}
        self.rows = []
        self.bin = os.path.join(os.path.abspath(options.build), "bin")
        self.postgres = None

    def close(self):
        if self.postgres is not None:
            self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self, name, value):
        self.samples.setdefault(name, []).append(value)

    def value(self, name):
        return median(self.samples[name])

    # --- load

    def script(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def wrk(self, name, server, path="/", script=None, seconds=None):
        """Requests a second and p99 in ms, kept under @name. A reply that is no success ends all."""
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds or self.seconds}s", "--timeout", "20s", "--latency"]
        if script is not None:
            command += ["-s", script]
        text = subprocess.run([*command, f"http://127.0.0.1:{server.port}{path}"], capture_output=True, text=True,
                              check=True).stdout
        if "Non-2xx" in text or not re.search(r"Requests/sec", text):
            raise SystemExit(f"{name}: {text}")
        found = re.search(r"\n\s+99%\s+([\d.]+)(us|ms|s|m)\s*\n", text)
        if found is None:
            raise SystemExit(f"{name}: nothing was answered in time; the machine is too busy to measure on:\n{text}")
        self.keep(name, float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)))
        self.keep(name + " p99", float(found.group(1)) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[found.group(2)])

    def paced(self, script, rate):
        """@script (or GETs) with a pause before each request, so that all connections make about @rate."""
        text = open(script, encoding="ascii").read() if script is not None else ""
        text += f"\ndelay = function() return {max(1, round(CONNECTIONS / rate * 1000))} end\n"
        return self.script(f"paced-{len(text)}.lua", text)

    # --- rows

    def at_least(self, what, value, unit, least, peer=None, note=""):
        self.rows.append({"what": what, "unit": unit, "value": value, "peer": peer, "goal": least, "kind": ">=",
                          "met": None if least is None else value >= least, "note": note})

    def at_most(self, what, value, unit, most, peer=None, note=""):
        self.rows.append({"what": what, "unit": unit, "value": value, "peer": peer, "goal": most, "kind": "<=",
                          "met": None if most is None else value <= most, "note": note})

    # --- rest-api

    def bare(self):
        """The command that starts a bare libmicrohttpd."""
        program = os.path.join(self.folder, "bare_httpd")
        if not os.path.exists(program):
            subprocess.run(["cc", "-O2", "-o", program, os.path.join(PEERS, "bare_httpd.c"), "-lmicrohttpd"], check=True)
        return [program, "{port}", str(min(2, os.cpu_count()))]

    def rest(self):
        self.rest_log_off(self.bare())
        servers = {
            "c": ([f"{self.bin}/rest-api"], {}, ("/health", "/api/users")),
            "python": (["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "rest_api:app"], {}, ("/health", "/api/users")),
        }
        for _ in range(self.rounds):
            for name, (command, environment, paths) in servers.items():
                server = Server(command, "/health", **environment)
                try:
                    self.keep(f"rest {name} start", server.start_ms)
                    time.sleep(0.5)
                    self.keep(f"rest {name} idle", server.rss())
                    for path in paths:
                        self.wrk(f"rest {name} {path}", server, path)
                    self.keep(f"rest {name} load", server.rss())
                finally:
                    server.stop()
            paced = {"paced": Server(servers["c"][0], "/health"), "paced bare": Server(self.bare(), "/health")}
            try:
                for path in ("/health", "/api/users"):
                    for name, server in paced.items():
                        self.wrk(f"rest {name} {path}", server, path, self.paced(None, self.value(f"rest python {path}")))
            finally:
                for server in paced.values():
                    server.stop()
        v = self.value
        for path in ("/health", "/api/users"):
            python = v(f"rest python {path}")
            self.at_least(f"rest-api {path}, logging", v(f"rest c {path}"), "requests/s", 10 * python, python)
            ratio = v(f"rest ratio {path}")
            self.at_least(f"rest-api {path}, log off", ratio * v("rest bare /health"), "requests/s", 0.8 * v("rest bare /health"),
                          v("rest bare /health"), "beside bare libmicrohttpd, median of pairs")
            self.at_most(f"rest-api {path}, log off, its processor time", v(f"rest quiet {path} cpu"), "us/request", None,
                         v("rest bare /health cpu"), "beside bare libmicrohttpd")
            self.at_most(f"rest-api {path}, p99 at Python's load", v(f"rest paced {path} p99"), "ms",
                         v(f"rest python {path} p99") / 20, v(f"rest python {path} p99"),
                         f"bare libmicrohttpd there: {v(f'rest paced bare {path} p99'):.3g}")
        self.memory("rest-api", "rest", 5)

    def rest_log_off(self, bare):
        """Beside the bare library in short turns, for what a shared machine gives changes from one second to the next."""
        servers = {"bare": Server(bare, "/health"), "quiet": Server([f"{self.bin}/rest-api"], "/health", LOG_LEVEL="off")}
        try:
            for _ in range(6 * self.rounds):
                for name, path in (("bare", "/health"), ("quiet", "/health"), ("quiet", "/api/users")):
                    before = cpu_seconds(servers[name].process.pid)
                    self.wrk(f"rest {name} {path}", servers[name], path, seconds=1)
                    spent = cpu_seconds(servers[name].process.pid) - before
                    self.keep(f"rest {name} {path} cpu", spent / self.samples[f"rest {name} {path}"][-1] * 1e6)
                for path in ("/health", "/api/users"):
                    self.keep(f"rest ratio {path}", self.samples[f"rest quiet {path}"][-1] / self.samples["rest bare /health"][-1])
        finally:
            for server in servers.values():
                server.stop()

    def memory(self, program, name, idle, variant="python"):
        v = self.value
        self.at_most(f"{program} start to first answer", v(f"{name} c start"), "ms", 20, v(f"{name} {variant} start"))
        self.at_most(f"{program} resident, idle", v(f"{name} c idle"), "MiB", idle, v(f"{name} {variant} idle"))
        self.at_most(f"{program} resident, under load", v(f"{name} c load"), "MiB", 14, v(f"{name} {variant} load"))

    # --- smartbiz-api

    def seed(self, database):
        stock = 100000000
        self.postgres.sql(
            f"INSERT INTO articles ({'sku, currency, ' if database == 'smartbiz' else ''}name, description, price_cents, stock) "
            f"SELECT {chr(39) + 'S-' + chr(39) + ' || i, ' + chr(39) + 'EUR' + chr(39) + ', ' if database == 'smartbiz' else ''}"
            f"'Article ' || i, 'Description of article number ' || i, 1000 + i, {stock} FROM generate_series(1, {ARTICLES}) i; "
            "INSERT INTO customers (name, email) SELECT 'Customer ' || i, 'c' || i || '@example.com' "
            f"FROM generate_series(1, {ARTICLES}) i", database=database)
        for table in ("articles", "customers", "orders"):
            self.postgres.sql(f"VACUUM ANALYZE {table}", database=database)

    def pgbench(self, seconds):
        """Orders a second by our own statement, as pgbench sends it, over as many connections as the API's."""
        with open(os.path.join(ROOT, "workloads/smartbiz-api/sql/order_create.sql"), encoding="utf-8") as file:
            text = re.sub(r"--.*", "", file.read())
        values = {1: ":c", 2: "ARRAY[:a]", 3: "ARRAY[:q]", 4: "'confirmed'", 5: "''", 6: "'anonymous'",
                  7: "'0123456789abcdef'", 8: "NULL", 9: "''"}
        text = re.sub(r"\$(\d)", lambda m: values[int(m.group(1))], " ".join(text.split()))
        script = self.script("order.pgbench", f"\\set a random(1, {ARTICLES})\n\\set c random(1, {ARTICLES})\n"
                             f"\\set q random(1, 3)\n{text};\n")
        done = subprocess.run(
            [os.path.join(self.postgres.programs, "pgbench"), "-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", str(seconds),
             "-h", self.postgres.folder, "-U", "smartbiz", "-f", script, "smartbiz"], capture_output=True, text=True,
            env={**os.environ, "PGOPTIONS": "-c plan_cache_mode=force_generic_plan"}, check=True)
        return float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))

    def durable_orders(self, server, script):
        """The API and pgbench in short turns: what a disk does differs from one second to the next. And pgbench while a
        bare libmicrohttpd answers as many requests as the API did: what is left of it is all that an API could reach."""
        bare = Server(self.bare(), "/health")
        try:
            for _ in range(4):
                self.wrk("orders", server, "/", script, self.seconds)
                rate = self.samples["orders"][-1]
                self.keep("pgbench", self.pgbench(self.seconds))
                self.keep("orders ratio", rate / self.samples["pgbench"][-1])
                load = threading.Thread(target=self.wrk, args=("beside", bare, "/", self.paced(None, rate), self.seconds))
                load.start()
                self.keep("pgbench ceiling", self.pgbench(self.seconds))
                load.join()
        finally:
            bare.stop()

    def smartbiz(self):
        self.postgres = Postgres(["max_wal_size = '4GB'"])
        self.postgres.sql("CREATE DATABASE python OWNER smartbiz", user="postgres", database="postgres")
        python_url = f"postgresql+psycopg2://smartbiz@/python?host={self.postgres.folder}"
        variants = {"python": ["/usr/bin/python3", "-m", "uvicorn", "smartbiz_api:app", "--host", "127.0.0.1", "--port", "{port}",
                               "--workers", "2"],
                    "python 1": ["/usr/bin/python3", "-m", "uvicorn", "smartbiz_api:app", "--host", "127.0.0.1", "--port", "{port}"]}
        servers = {"c": ([f"{self.bin}/smartbiz-api"], {"DATABASE_URL": self.postgres.url()}),
                   "python": (variants["python"], {"DATABASE_URL": python_url})}
        if not self.options.quick:
            servers["python 1"] = (variants["python 1"], {"DATABASE_URL": python_url})
        for name, environment in (("c", {}), ("python 1", {"MAKE_TABLES": "1"})):  # makes the tables, apart from the start
            command = servers["c"][0] if name == "c" else variants["python 1"]
            url = self.postgres.url() if name == "c" else python_url
            Server(command, "/ready" if name == "c" else "/health", DATABASE_URL=url, **environment).stop()
        self.seed("smartbiz")
        self.seed("python")
        one = self.script("one.lua", "request = function() return wrk.format('GET', '/articles/' .. "
                          f"math.random(1, {ARTICLES})) end\n")
        order = self.script("order.lua", "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
                            "request = function() return wrk.format(nil, '/orders', nil, string.format("
                            "'{\"customer_id\":%d,\"article_id\":%d,\"quantity\":%d}', "
                            f"math.random(1, {ARTICLES}), math.random(1, {ARTICLES}), math.random(1, 3))) end\n")
        loads = {"one article": ("/", one), "50 articles": ("/articles?limit=50", None), "order": ("/", order)}
        for _ in range(self.rounds):
            for name, (command, environment) in servers.items():
                server = Server(command, "/health", **environment)
                try:
                    self.keep(f"sb {name} start", server.start_ms)
                    self.keep(f"sb {name} article", server.first_answer("/articles/1"))
                    time.sleep(1)
                    self.keep(f"sb {name} idle", server.rss())
                    for load, (path, script) in loads.items():
                        self.wrk(f"sb warm {name} {load}", server, path, script, 1)
                        self.wrk(f"sb {name} {load}", server, path, script)
                    self.keep(f"sb {name} load", server.rss())
                finally:
                    server.stop()
            server = Server(servers["c"][0], "/articles/1", **servers["c"][1])
            try:
                self.durable_orders(server, order)
                for load, (path, script) in loads.items():
                    self.wrk(f"sb paced {load}", server, path, self.paced(script, self.fastest(load)))
            finally:
                server.stop()
        self.consistent()
        v = self.value
        for load, factor in (("one article", 40), ("50 articles", 30)):
            python = self.fastest(load)
            self.at_least(f"smartbiz-api {load}", v(f"sb c {load}"), "requests/s", factor * python, python)
        self.at_least("smartbiz-api order, durable", v("orders ratio") * v("pgbench"), "orders/s", 0.85 * v("pgbench"), v("pgbench"),
                      f"beside pgbench with our statement, median of pairs; Python: {self.fastest('order'):.0f}; "
                      f"pgbench while a bare libmicrohttpd answers as many requests: {v('pgbench ceiling'):.0f}")
        for load in loads:
            self.at_most(f"smartbiz-api {load}, p99 at Python's load", v(f"sb paced {load} p99"), "ms",
                         v(f"sb python {load} p99") / 20, v(f"sb python {load} p99"))
        self.at_most("smartbiz-api start to first article", v("sb c article"), "ms", None, v("sb python article"))
        self.memory("smartbiz-api", "sb", 9)

    def fastest(self, load):
        return max(self.value(f"sb {name} {load}") for name in ("python", "python 1") if f"sb {name} {load}" in self.samples)

    def consistent(self):
        """What was taken out of stock is what was ordered, on both sides, or speed means nothing."""
        for database, taken in (("smartbiz", "SELECT (SELECT sum(quantity) FROM order_lines) + (SELECT sum(change) FROM stock_movements)"),
                                ("python", f"SELECT {ARTICLES} * 100000000::bigint - (SELECT sum(stock) FROM articles) - "
                                 "(SELECT sum(quantity) FROM orders)")):
            if self.postgres.sql(taken, database=database) != [["0"]]:
                raise SystemExit(f"{database}: stock and orders differ")

    # --- log-generator

    def log(self):
        count = {"c": 1000000, "python": 60000 if self.options.quick else 200000}
        commands = {"c": [f"{self.bin}/log-generator"], "python": ["/usr/bin/python3", "log_generator.py"]}
        for _ in range(self.rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, cwd=PEERS, stdout=subprocess.DEVNULL, check=True, env={
                    **os.environ, "LOG_COUNT": str(count[name]), "LOG_INTERVAL_MIN": "0", "LOG_INTERVAL_MAX": "0"})
                self.keep(f"log {name}", count[name] / (time.perf_counter() - began))
        self.at_least("log-generator", self.value("log c"), "lines/s", 10 * self.value("log python"), self.value("log python"))

    def resident(self, program, idle, load):
        """Of a program that serves nothing: while it waits, and while it does as much as it can."""
        for name, most, environment in (("idle", 5, idle), ("under load", 14, load)):
            process = subprocess.Popen([f"{self.bin}/{program}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       env={**os.environ, **environment})
            try:
                time.sleep(0.5)
                self.at_most(f"{program} resident, {name}", rss(process.pid), "MiB", most)
            finally:
                process.kill()
                process.wait()

    # --- the other programs

    def others(self):
        self.resident("log-generator", {"LOG_INTERVAL_MIN": "9", "LOG_INTERVAL_MAX": "9"},
                      {"LOG_INTERVAL_MIN": "0", "LOG_INTERVAL_MAX": "0"})
        self.resident("batch-job", {"DELAY_MIN": "9", "DELAY_MAX": "9"},
                      {"DELAY_MIN": "0", "DELAY_MAX": "0", "BATCH_RECORDS": "1000000000"})
        for program, environment in (("metrics-app", {}), ("smartbiz-ui", {"API_URL": "http://127.0.0.1:9"})):
            for _ in range(self.rounds):
                server = Server([f"{self.bin}/{program}"], "/health", **environment)
                try:
                    self.keep(f"{program} start", server.start_ms)
                    time.sleep(0.3)
                    self.keep(f"{program} idle", server.rss())
                    self.wrk(f"{program}", server, "/metrics" if program == "metrics-app" else "/app.js", seconds=1)
                    self.keep(f"{program} load", server.rss())
                finally:
                    server.stop()
            self.at_most(f"{program} start to first answer", self.value(f"{program} start"), "ms", 20)
            self.at_most(f"{program} resident, idle", self.value(f"{program} idle"), "MiB", 5)
            self.at_most(f"{program} resident, under load", self.value(f"{program} load"), "MiB", 14)

    # --- the end

    def print(self, head):
        def number(value):
            return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        print(f"\nworkloads: {head['machine']}; revision {head['revision']}, {head['time']}, load {head['load']:.1f} before\n")
        lines = [["", "covey", "beside", "ratio", "goal", "", ""]]
        for row in self.rows:
            ratio = row["value"] / row["peer"] if row["peer"] else None
            lines.append([f"{row['what']}, {row['unit']}", number(row["value"]), number(row["peer"]),
                          "-" if ratio is None else f"{ratio:.3g}", f"{row['kind']} {number(row['goal'])}",
                          {None: "", True: "ok", False: "MISSED"}[row["met"]], row["note"]])
        widths = [max(len(line[i]) for line in lines) for i in range(7)]
        for line in lines:
            print("  ".join([line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(1, 5)),
                             line[5].ljust(widths[5]), line[6]]).rstrip())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", choices=("rest", "smartbiz", "log", "others"))
    options = parser.parse_args()
    head = {"benchmark": "workloads", "machine": machine(), "revision": revision(ROOT), "load": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    bench = Bench(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for name in ("rest", "smartbiz", "log", "others"):
            if options.only in (None, name):
                getattr(bench, name)()
    finally:
        bench.close()
    bench.print(head)
    if options.json:
        spread = {name: [quantile(values, 0), median(values), quantile(values, 1)] for name, values in bench.samples.items()}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({**head, "rows": bench.rows, "samples": spread}, file, indent=2)
            file.write("\n")
    missed = [row["what"] for row in bench.rows if row["met"] is False]
    if missed:
        print("\nmissed: " + "; ".join(missed))
    sys.exit(1 if missed and options.quick else 0)


if __name__ == "__main__":
    main()
