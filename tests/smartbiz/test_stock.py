"""Stock under fire: many clients order, cancel and adjust at random, while the API is killed and
PostgreSQL restarted. Every client repeats what was not answered under its Idempotency-Key until it is.
In the end no order is lost or doubled, and every article's stock is the sum of its movements and
what the clients were told: python3 test_stock.py FOLDER-OF-PROGRAMS [SEED [OPERATIONS]]"""
import collections
import http.client
import random
import sys
import threading
import time

from rig import Api, Postgres, until

BIN = sys.argv[1]
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 32)
OPERATIONS = int(sys.argv[3]) if len(sys.argv) > 3 else 1500
ARTICLES = 6
CLIENTS = 12
INITIAL = 40
GIVE_UP = 90  # seconds for one operation, restarts included


class Client(threading.Thread):
    def __init__(self, world, number):
        super().__init__(daemon=True)
        self.world = world
        self.number = number
        self.random = random.Random(f"{SEED}/{number}")
        self.operations = 0
        self.orders = {}  # id: lines, as answered
        self.cancelled = set()
        self.adjusted = collections.Counter()
        self.repeated = 0
        self.replayed = 0
        self.refused = 0
        self.error = None

    def ask(self, path, body):
        """Repeats under one key until there is an answer that tells what was done."""
        self.operations += 1
        key = f"{self.number}-{self.operations}"
        end = time.monotonic() + GIVE_UP
        while True:
            try:
                reply = self.world.api.request("POST", path, body, {"Idempotency-Key": key}, timeout=20)
                if reply.status not in (503, 504):
                    self.replayed += reply.headers["Idempotency-Replayed"] == "true"
                    return reply
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"{path} was not answered for {GIVE_UP} s")
            self.repeated += 1
            time.sleep(0.02)

    def order(self):
        articles = self.random.sample(self.world.articles, self.random.randint(1, 3))
        lines = {article: self.random.randint(1, 5) for article in articles}
        reply = self.ask("/orders", {"customer_id": self.world.customer, "lines": [
            {"article_id": article, "quantity": quantity} for article, quantity in lines.items()]})
        if reply.status == 201:
            self.orders[reply.json["id"]] = lines
        elif reply.status == 409 and "available" in reply.json["detail"]:
            self.refused += 1
        else:
            raise AssertionError(f"an order was answered by {reply}")

    def cancel(self):
        left = [number for number in self.orders if number not in self.cancelled]
        if not left:
            return
        number = self.random.choice(left)
        reply = self.ask(f"/orders/{number}/cancel", None)
        if reply.status != 200 or reply.json["status"] != "cancelled":
            raise AssertionError(f"a cancellation was answered by {reply}")
        self.cancelled.add(number)

    def adjust(self):
        article = self.random.choice(self.world.articles)
        change = self.random.choice((-7, -3, -1, 2, 4, 9))
        reply = self.ask(f"/articles/{article}/stock", {"change": change})
        if reply.status == 200:
            self.adjusted[article] += change
        elif reply.status == 409:
            self.refused += 1
        else:
            raise AssertionError(f"an adjustment was answered by {reply}")

    def run(self):
        try:
            while self.world.next():
                self.random.choices((self.order, self.cancel, self.adjust), (6, 3, 3))[0]()
        except Exception as error:  # told by the main thread
            self.error = error
            self.world.stop = True


class World:
    def __init__(self):
        self.postgres = Postgres()
        self.api = Api(BIN, self.postgres)
        self.lock = threading.Lock()
        self.given = 0
        self.stop = False
        self.articles = [self.api.call("POST", "/articles", {
            "name": f"Article {n}", "price_cents": 100, "stock": INITIAL}, status=201).json["id"] for n in range(ARTICLES)]
        self.customer = self.api.call("POST", "/customers", {"name": "C", "email": "c@example.com"}, status=201).json["id"]

    def next(self):
        with self.lock:
            self.given += 1
            return self.given <= OPERATIONS and not self.stop

    def wait_for(self, share):
        until(lambda: self.given >= OPERATIONS * share or self.stop, f"{share:.0%} of the operations", 200)

    def kill_api(self):
        old = self.api
        old.kill()
        self.api = Api(BIN, self.postgres, old.port)
        old.close()

    def restart_postgres(self, mode):
        self.postgres.stop(mode)
        self.postgres.start()

    def close(self):
        self.api.close()
        self.postgres.close()


def check(world, clients):
    orders, adjusted = {}, collections.Counter()
    cancelled = set()
    for client in clients:
        assert not orders.keys() & client.orders.keys(), "two clients were given the same order"
        orders.update(client.orders)
        cancelled |= client.cancelled
        adjusted.update(client.adjusted)
    sql = world.postgres.sql
    assert sql("SELECT a.id FROM articles a WHERE stock < 0 OR stock <> "
               "(SELECT sum(change) FROM stock_movements m WHERE m.article_id = a.id)") == [], "stock is not its movements"
    assert sql("SELECT id FROM (SELECT id, balance, sum(change) OVER (PARTITION BY article_id ORDER BY id) AS run "
               "FROM stock_movements) s WHERE balance <> run") == [], "a movement tells a wrong balance"
    stored = {int(number): status for number, status in sql("SELECT id, status FROM orders")}
    told = {number: "cancelled" if number in cancelled else "confirmed" for number in orders}
    assert stored == told, f"orders differ: {set(stored.items()) ^ set(told.items())}"
    lines = collections.defaultdict(dict)
    for number, article, quantity in sql("SELECT order_id, article_id, quantity FROM order_lines"):
        lines[int(number)][int(article)] = int(quantity)
    assert lines == orders, "lines of orders differ"
    for article in world.articles:
        taken = sum(line.get(article, 0) for number, line in orders.items() if number not in cancelled)
        expected = INITIAL + adjusted[article] - taken
        found = int(sql(f"SELECT stock FROM articles WHERE id = {article}")[0][0])
        assert found == expected, f"article {article}: {found} in stock, {expected} by what was answered"
    moves = sql("SELECT order_id, article_id, reason, count(*) FROM stock_movements WHERE order_id IS NOT NULL "
                "GROUP BY 1, 2, 3 HAVING count(*) > 1")
    assert moves == [], f"moved twice: {moves}"
    audited = sql("SELECT count(*) FROM audit WHERE entity = 'order'")
    assert audited == [[str(len(orders) + len(cancelled))]], "the audit trail differs"
    return orders, cancelled


def main():
    print(f"seed {SEED}, {OPERATIONS} operations")
    world = World()
    try:
        clients = [Client(world, n) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        for share, strike in ((0.15, world.kill_api), (0.35, lambda: world.restart_postgres("fast")),
                              (0.5, world.kill_api), (0.65, lambda: world.restart_postgres("immediate")),
                              (0.8, world.kill_api)):
            world.wait_for(share)
            if not world.stop:
                strike()
        for client in clients:
            client.join(GIVE_UP + 30)
        for client in clients:
            if client.error is not None:
                raise client.error
            assert not client.is_alive(), "a client did not end"
        orders, cancelled = check(world, clients)
        assert len(orders) > OPERATIONS / 10 and cancelled, "too little was done to show anything"
        print(f"ok: {len(orders)} orders, {len(cancelled)} cancelled, {sum(c.refused for c in clients)} refused; "
              f"{sum(c.repeated for c in clients)} repeated, {sum(c.replayed for c in clients)} had been done already")
    finally:
        world.close()


main()
