"""The API of SmartBiz on a real PostgreSQL: python3 test_api.py FOLDER-OF-PROGRAMS"""
import concurrent.futures
import itertools
import json
import os
import socket
import subprocess
import sys
import time
import unittest

from rig import Api, Postgres, Program, until

BIN = sys.argv.pop(1)
serial = itertools.count(1)


class ApiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.api = Api(BIN, cls.postgres)

    @classmethod
    def tearDownClass(cls):
        try:
            code = cls.api.stop()
            wrong = [line for line in cls.api.lines() if '"status":500' in line or "runtime error" in line]
        finally:
            cls.api.close()
            cls.postgres.close()
        assert code == 0, f"the API ended with {code}"
        assert not wrong, wrong

    def call(self, method, path, body=None, status=None, **headers):
        return self.api.call(method, path, body,
                             {name.replace("_", "-"): value for name, value in headers.items()}, status)

    def article(self, **fields):
        return self.call("POST", "/articles", {
            "name": f"Article {next(serial)}", "price_cents": 1250, "stock": 10, **fields}, 201).json

    def customer(self, **fields):
        n = next(serial)
        return self.call("POST", "/customers", {
            "name": f"Customer {n}", "email": f"c{n}@example.com", **fields}, 201).json

    def order(self, lines, status=201, **fields):
        fields.setdefault("customer_id", None)
        if fields["customer_id"] is None:
            fields["customer_id"] = self.customer()["id"]
        return self.call("POST", "/orders", {
            "lines": [{"article_id": a["id"], "quantity": q} for a, q in lines], **fields}, status).json

    def stock(self, article):
        return self.call("GET", f"/articles/{article['id']}", status=200).json["stock"]

    def refused(self, status, field, method, path, body=None, **headers):
        reply = self.call(method, path, body, **headers)
        self.assertEqual((reply.status, reply.json.get("field")), (status, field), reply)
        self.assertEqual(reply.headers["Content-Type"], "application/problem+json")
        self.assertNotRegex(reply.body.decode(), r"(?i)select |insert |update .* set|pg_|sqlstate|\$1")
        return reply.json

    # --- articles and customers

    def test_an_article_from_its_making_to_its_end(self):
        reply = self.call("POST", "/articles", {
            "sku": "LIFE-1", "name": "Zäpfchen \"M4\"", "description": "two\nlines", "price_cents": 5,
            "currency": "CHF", "stock": 7, "min_stock": 3}, 201)
        article = reply.json
        path = reply.headers["Location"]
        self.assertEqual(self.call("GET", path, status=200).json, article)
        self.assertEqual(article["name"], "Zäpfchen \"M4\"")
        tag = reply.headers["ETag"]
        self.assertEqual(self.call("GET", path, If_None_Match=tag).status, 304)
        changed = self.call("PATCH", path, {"price_cents": 6}, 200, If_Match=tag)
        self.assertEqual((changed.json["price_cents"], changed.json["description"]), (6, "two\nlines"))
        self.assertNotEqual(changed.headers["ETag"], tag)
        self.refused(412, "If-Match", "PATCH", path, {"price_cents": 7}, If_Match=tag)
        self.refused(412, "If-Match", "DELETE", path, If_Match=tag)
        replaced = self.call("PUT", path, {"name": "Other", "price_cents": 9}, 200).json
        self.assertEqual((replaced["description"], replaced["min_stock"], replaced["sku"]), ("", 0, "LIFE-1"))
        self.refused(409, "sku", "POST", "/articles", {"sku": "LIFE-1", "name": "x", "price_cents": 1})
        self.call("DELETE", path, status=204)
        self.refused(404, "id", "GET", path)
        self.refused(404, "id", "PATCH", path, {"name": "x"})
        self.refused(404, "id", "DELETE", path)
        self.article(sku="LIFE-1")  # free again
        actions = self.call("GET", f"/audit?entity=article&entity_id={article['id']}", status=200).json["items"]
        self.assertEqual([a["action"] for a in actions], ["delete", "update", "update", "create"])
        self.assertEqual((actions[2]["before"]["price_cents"], actions[2]["after"]["price_cents"]), (5, 6))

    def test_an_order_in_between_does_not_spoil_the_tag_of_an_article(self):
        article = self.article()
        tag = self.call("GET", f"/articles/{article['id']}").headers["ETag"]
        self.order([(article, 1)])
        self.assertNotEqual(self.call("GET", f"/articles/{article['id']}").headers["ETag"], tag)
        self.call("PATCH", f"/articles/{article['id']}", {"name": "still"}, 200, If_Match=tag)

    def test_customers(self):
        customer = self.customer(address="Weg 1\n12345 Ort", phone="+49 1")
        path = f"/customers/{customer['id']}"
        reply = self.call("GET", path, status=200)
        self.assertEqual(reply.json, customer)
        self.call("PATCH", path, {"phone": ""}, 200, If_Match=reply.headers["ETag"])
        self.refused(412, "If-Match", "PUT", path, {"name": "a", "email": "a@b.de"}, If_Match=reply.headers["ETag"])
        other = self.customer()
        self.refused(409, "email", "PATCH", f"/customers/{other['id']}", {"email": customer["email"].upper()})
        self.call("DELETE", path, status=204)
        self.refused(404, "id", "GET", path)
        self.refused(422, "customer_id", "POST", "/orders",
                     {"customer_id": customer["id"], "lines": [{"article_id": self.article()["id"], "quantity": 1}]})

    def test_who_did_it_is_kept(self):
        article = self.call("POST", "/articles", {"name": "x", "price_cents": 1, "stock": 1}, 201,
                            X_User="J%C3%BCrgen").json
        change = self.call("GET", f"/audit?entity=article&entity_id={article['id']}").json["items"][0]
        self.assertEqual(change["actor"], "Jürgen")
        movement = self.call("GET", f"/articles/{article['id']}/movements").json["items"][0]
        self.assertEqual((movement["actor"], movement["reason"], movement["change"]), ("Jürgen", "initial", 1))
        self.refused(400, "X-User", "POST", "/articles", {"name": "x", "price_cents": 1}, X_User="%ff")

    # --- lists

    def pages(self, path):
        items, after = [], ""
        for _ in range(100):
            page = self.call("GET", path + ("&after=" + after if after else ""), status=200).json
            items += page["items"]
            after = page["next"]
            if after is None:
                return items
        self.fail("the pages do not end")

    def test_pages_are_complete_in_every_order(self):
        word = f"page{next(serial)}"
        made = [self.article(name=f"{word} {name}", price_cents=price, stock=stock)["id"]
                for name, price, stock in
                (("b", 3, 1), ("A", 3, 2), ("ü", 1, 2), ("c", 2, 2), ("a", 9, 5), ("%_\\", 3, 1), ("B", 3, 9))]
        for sort, key in (("id", lambda a: a["id"]), ("price", lambda a: (a["price_cents"], a["id"])),
                          ("stock", lambda a: (a["stock"], a["id"])),
                          ("name", lambda a: (a["name"].lower().encode(), a["id"]))):
            for sign in ("", "-"):
                found = self.pages(f"/articles?q={word}&limit=2&sort={sign}{sort}")
                self.assertEqual(sorted(a["id"] for a in found), made, sort)
                self.assertEqual(found, sorted(found, key=key, reverse=sign == "-"), sign + sort)

    def test_a_search_takes_its_text_literally(self):
        word = f"find{next(serial)}"
        self.article(name=f"{word} 100%")
        self.article(name=f"{word} 1000")
        found = self.call("GET", f"/articles?q={word}%20100%25", status=200).json["items"]
        self.assertEqual([a["name"] for a in found], [f"{word} 100%"])
        self.assertEqual(self.call("GET", "/articles?q=%27%3B%20DROP%20TABLE%20articles%3B--").json["items"], [])

    def test_a_cursor_is_only_for_its_order(self):
        for path in ("/articles?after=!!", "/articles?after=MTph", "/articles?sort=price&after=MTph",
                     "/articles?after=" + "A" * 3000, "/articles?after=MA"):
            self.refused(400, "after", "GET", path)
        self.refused(400, "sort", "GET", "/articles?sort=colour")
        self.refused(400, "limit", "GET", "/articles?limit=0")
        self.refused(400, "limit", "GET", "/articles?limit=201")
        self.refused(400, "limit", "GET", "/articles?limit=99999999999999999999")
        self.refused(400, "x", "GET", "/articles?x=1")
        self.refused(400, "limit", "GET", "/articles?limit=1&limit=2")
        self.refused(400, "low_stock", "GET", "/articles?low_stock=1")
        self.refused(400, "customer_id", "GET", "/orders?customer_id=-1")

    def test_low_stock(self):
        low = self.article(stock=2, min_stock=2)
        high = self.article(stock=3, min_stock=2)
        found = {a["id"] for a in self.pages("/low-stock?limit=200")}
        self.assertIn(low["id"], found)
        self.assertNotIn(high["id"], found)
        self.call("POST", f"/articles/{high['id']}/stock", {"change": -1}, 200)
        self.assertIn(high["id"], {a["id"] for a in self.pages("/articles?low_stock=true")})

    # --- orders

    def test_an_order_takes_all_of_its_stock_or_nothing(self):
        a, b = self.article(stock=5, price_cents=100), self.article(stock=2, price_cents=7)
        order = self.order([(a, 3), (b, 2)])
        self.assertEqual((order["status"], order["total_cents"], len(order["lines"])), ("confirmed", 314, 2))
        self.assertEqual((self.stock(a), self.stock(b)), (2, 0))
        problem = self.refused(409, "lines[1].quantity", "POST", "/orders", {
            "customer_id": order["customer_id"],
            "lines": [{"article_id": a["id"], "quantity": 2}, {"article_id": b["id"], "quantity": 1}]})
        self.assertIn("0 available", problem["detail"])
        self.assertEqual((self.stock(a), self.stock(b)), (2, 0))
        self.assertEqual(self.call("GET", f"/orders/{order['id']}", status=200).json, order)

    def test_cancelling_restores_once(self):
        a = self.article(stock=5)
        order = self.order([(a, 3)])
        path = f"/orders/{order['id']}"
        self.assertEqual(self.call("POST", path + "/ship", status=200).json["status"], "shipped")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda _: self.api.request("POST", path + "/cancel").status, range(8)))
        self.assertEqual(sorted(codes), [200] + [409] * 7)
        self.assertEqual(self.stock(a), 5)
        self.refused(409, "status", "POST", path + "/confirm")
        self.refused(409, "status", "POST", path + "/ship")
        movements = self.call("GET", f"/movements?order_id={order['id']}").json["items"]
        self.assertEqual([(m["reason"], m["change"], m["balance"]) for m in movements],
                         [("cancel", 3, 5), ("order", -3, 2)])

    def test_a_draft_takes_stock_when_it_is_confirmed(self):
        a, b = self.article(stock=5), self.article(stock=5)
        draft = self.call("POST", "/orders", {
            "customer_id": self.customer()["id"], "status": "draft",
            "lines": [{"article_id": a["id"], "quantity": 9}]}, 201).json
        path = f"/orders/{draft['id']}"
        self.assertEqual(self.stock(a), 5)
        self.refused(409, "lines[0].quantity", "POST", path + "/confirm")
        self.refused(409, "status", "POST", path + "/ship")
        changed = self.call("PUT", path, {"customer_id": draft["customer_id"], "note": "n", "lines": [
            {"article_id": b["id"], "quantity": 1}, {"article_id": a["id"], "quantity": 4}]}, 200)
        self.refused(412, "If-Match", "POST", path + "/confirm", If_Match='"v1"')
        done = self.call("POST", path + "/confirm", status=200, If_Match=changed.headers["ETag"]).json
        self.assertEqual([line["quantity"] for line in done["lines"]], [1, 4])
        self.assertEqual((self.stock(a), self.stock(b)), (1, 4))
        self.refused(409, "status", "PUT", path, {"customer_id": draft["customer_id"],
                                                  "article_id": a["id"], "quantity": 1})
        self.call("POST", path + "/cancel", status=200)
        self.assertEqual((self.stock(a), self.stock(b)), (5, 5))

    def test_orders_that_cannot_be(self):
        a = self.article()
        franc = self.article(currency="CHF")
        customer = self.customer()["id"]
        line = {"article_id": a["id"], "quantity": 1}
        for field, body in (
                ("lines[1].article_id", {"lines": [line, line]}),
                ("lines[1].article_id", {"lines": [line, {"article_id": franc["id"], "quantity": 1}]}),
                ("lines[0].article_id", {"lines": [{"article_id": 999999999, "quantity": 1}]}),
                ("lines[0].quantity", {"lines": [{**line, "quantity": 0}]}),
                ("lines[0].quantity", {"lines": [{**line, "quantity": -3}]}),
                ("lines[0].quantity", {"lines": [{**line, "quantity": 1.5}]}),
                ("lines[0].price", {"lines": [{**line, "price": 1}]}),
                ("lines[0]", {"lines": ["x"]}),
                ("lines", {"lines": []}), ("lines", {}), ("quantity", {"article_id": a["id"]}),
                ("lines", {"lines": [line], "article_id": 1, "quantity": 1}),
                ("lines", {"lines": [line] * 101}), ("status", {"lines": [line], "status": "shipped"})):
            self.refused(422, field, "POST", "/orders", {"customer_id": customer, **body})
        self.refused(422, "customer_id", "POST", "/orders", {"customer_id": 999999999, "lines": [line]})
        self.assertEqual(self.stock(a), 10)

    def test_the_filters_of_orders(self):
        a = self.article(stock=100)
        customer = self.customer()
        orders = [self.order([(a, 1)], customer_id=customer["id"])["id"] for _ in range(3)]
        self.call("POST", f"/orders/{orders[1]}/cancel", status=200)
        path = f"/orders?customer_id={customer['id']}"
        self.assertEqual([o["id"] for o in self.pages(path + "&limit=1")], orders[::-1])
        self.assertEqual([o["id"] for o in self.pages(path + "&status=cancelled")], [orders[1]])
        self.assertEqual([o["id"] for o in self.pages(path + f"&q={customer['name'].replace(' ', '%20')}&sort=id")], orders)

    def test_stock_is_adjusted_with_a_reason_and_never_negative(self):
        a = self.article(stock=5)
        path = f"/articles/{a['id']}/stock"
        self.assertEqual(self.call("POST", path, {"change": 10, "note": "found"}, 200).json["stock"], 15)
        self.assertIn("15", self.refused(409, "change", "POST", path, {"change": -16})["detail"])
        self.refused(422, "change", "POST", path, {"change": 0})
        self.refused(422, "change", "POST", path, {"change": 1000001})
        self.refused(422, "stock", "PATCH", f"/articles/{a['id']}", {"stock": 1})
        self.refused(404, "id", "POST", "/articles/99999999/stock", {"change": 1})
        total = self.postgres.sql(f"SELECT sum(change) FROM stock_movements WHERE article_id = {a['id']}")
        self.assertEqual(total, [["15"]])
        for table in ("stock_movements", "audit"):
            with self.assertRaisesRegex(AssertionError, "append-only"):
                self.postgres.sql(f"DELETE FROM {table}")

    # --- Idempotency-Key

    def test_a_repeated_request_is_done_once(self):
        a = self.article(stock=5)
        body = {"customer_id": self.customer()["id"], "lines": [{"article_id": a["id"], "quantity": 5}]}
        first = self.call("POST", "/orders", body, 201, Idempotency_Key="order-1")
        again = self.call("POST", "/orders", body, 201, Idempotency_Key="order-1")
        self.assertEqual((first.json, again.headers["Idempotency-Replayed"]), (again.json, "true"))
        self.refused(422, "Idempotency-Key", "POST", "/orders", {**body, "note": "x"}, Idempotency_Key="order-1")
        self.refused(400, "Idempotency-Key", "POST", "/orders", body, Idempotency_Key="a b")
        self.refused(400, "Idempotency-Key", "POST", "/orders", body, Idempotency_Key="x" * 129)
        self.assertEqual(self.stock(a), 0)
        path = f"/orders/{first.json['id']}/cancel"
        for _ in range(2):
            self.assertEqual(self.call("POST", path, status=200, Idempotency_Key="c-1").json["status"], "cancelled")
        self.assertEqual(self.stock(a), 5)
        # A refusal is not kept: with stock it can be tried again under its key.
        big = {**body, "lines": [{"article_id": a["id"], "quantity": 6}]}
        self.refused(409, "lines[0].quantity", "POST", "/orders", big, Idempotency_Key="big")
        self.call("POST", f"/articles/{a['id']}/stock", {"change": 1}, 200)
        self.call("POST", "/orders", big, 201, Idempotency_Key="big")

    def test_many_at_once_with_one_key_are_one(self):
        a = self.article(stock=100)
        body = {"customer_id": self.customer()["id"], "article_id": a["id"], "quantity": 1}
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: self.api.request(
                "POST", "/orders", body, {"Idempotency-Key": "crowd"}), range(16)))
        self.assertEqual({r.status for r in replies}, {201}, replies)
        self.assertEqual(len({r.json["id"] for r in replies}), 1)
        self.assertEqual(self.stock(a), 99)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: self.api.request(
                "POST", f"/articles/{a['id']}/stock", {"change": -99}, {"Idempotency-Key": "all"}), range(16)))
        self.assertEqual({r.status for r in replies}, {200}, replies)

    # --- CSV

    def send_csv(self, text, query=""):
        return self.call("POST", "/articles/import" + query, text, Content_Type="text/csv")

    def test_a_file_goes_in_as_a_whole_or_not_at_all(self):
        old = self.article(sku="CSV-OLD", stock=4)
        text = "\ufeffsku;name;price;stock\r\nCSV-OLD;;0,99;7\r\nCSV-NEW;\"a \"\"b\"\"; c\";12,5;\r\n"
        tried = self.send_csv(text, "?dry_run=true").json
        self.assertEqual((tried["created"], tried["updated"], tried["errors"]), (1, 1, []))
        self.assertEqual(self.stock(old), 4)
        done = self.send_csv(text).json
        self.assertEqual((done["created"], done["updated"], done["unchanged"]), (1, 1, 0))
        self.assertEqual(self.stock(old), 7)
        new = self.call("GET", "/articles?q=CSV-NEW").json["items"][0]
        self.assertEqual((new["name"], new["price_cents"], new["stock"]), ('a "b"; c', 1250, 0))
        again = self.send_csv(text).json
        self.assertEqual((again["created"], again["updated"], again["unchanged"]), (0, 0, 2))
        movements = self.call("GET", f"/articles/{old['id']}/movements").json["items"]
        self.assertEqual([(m["reason"], m["change"]) for m in movements], [("import", 3), ("initial", 4)])
        wrong = text + "CSV-3;x;1,234;1\r\n;y;1;1\r\nCSV-4;z;1;-1\r\nCSV-OLD;z;1;1\r\nCSV-5;z\r\n"
        reply = self.send_csv(wrong)
        self.assertEqual(reply.status, 422)
        self.assertEqual([(e["line"], e.get("field")) for e in sorted(reply.json["errors"], key=lambda e: e["line"])],
                         [(4, "price"), (5, "sku"), (6, "stock"), (7, "sku"), (8, None)])
        self.assertEqual(self.call("GET", "/articles?q=CSV-3").json["items"], [])
        self.assertEqual(self.send_csv(wrong, "?dry_run=true").json["error_count"], 5)
        self.assertEqual(self.send_csv("sku,stock\nUNKNOWN-9,1\n").status, 422)  # no name, no price
        self.assertEqual(self.send_csv("").status, 422)
        self.assertEqual(self.send_csv("sku\n\"x").status, 422)
        self.assertEqual(self.send_csv("sku,colour\nx,y\n").status, 422)
        self.assertEqual(self.send_csv(b"sku,name\nx,\xff\n").status, 422)
        self.assertEqual(self.call("POST", "/articles/import", "{}", Content_Type="application/json").status, 415)
        self.assertEqual(self.send_csv("sku\n" + "x" * (1 << 20)).status, 413)

    def test_what_goes_out_can_come_in(self):
        self.article(name='=cmd|"x"', description="a,b;\"c\"\nd", sku="-ROUND")
        for _ in range(3):
            self.article()
        text = self.call("GET", "/export/articles.csv", status=200).body.decode()
        self.assertIn("'=cmd", text)  # no spreadsheet takes it for a formula
        done = self.send_csv(text).json
        self.assertEqual((done["created"], done["updated"], done["error_count"]), (0, 0, 0))
        self.assertGreater(done["unchanged"], 3)
        for name in ("customers", "orders", "movements"):
            self.assertRegex(self.call("GET", f"/export/{name}.csv", status=200).body.decode(), "^id,")

    def test_an_export_is_longer_than_a_query(self):
        self.postgres.sql("INSERT INTO customers (name, email) SELECT 'n', 'bulk' || i || '@example.com' "
                          "FROM generate_series(1, 1203) i")
        lines = self.call("GET", "/export/customers.csv", status=200).body.decode().splitlines()
        count = int(self.postgres.sql("SELECT count(*) FROM customers WHERE archived_at IS NULL")[0][0])
        self.assertEqual(len(lines), count + 1)
        self.assertEqual(len(set(lines)), len(lines))

    # --- the whole

    def test_metrics_and_dashboard(self):
        before = self.call("GET", "/dashboard", status=200).json
        a = self.article(price_cents=500, stock=3, min_stock=1, currency="SEK")
        self.order([(a, 2)])
        after = self.call("GET", "/dashboard", status=200).json
        self.assertEqual(after["orders"]["confirmed"], before["orders"].get("confirmed", 0) + 1)
        self.assertEqual(after["low_stock"], before["low_stock"] + 1)
        self.assertEqual(after["revenue"]["SEK"], 1000)
        self.assertEqual((len(after["days"]), after["days"][-1]["orders"]),
                         (14, before["days"][-1]["orders"] + 1))
        text = self.call("GET", "/metrics", status=200).body.decode()
        self.assertIn('smartbiz_revenue_cents{currency="SEK"} 1000\n', text)
        self.assertIn('smartbiz_database_up 1\n', text)
        self.assertRegex(text, r'smartbiz_order_actions_total\{action="created"\} [1-9]')
        self.assertRegex(text, r'http_requests_total\{method="POST",endpoint="/orders",status="201"\} [1-9]')

    def test_the_description_is_whole(self):
        import jsonschema
        document = self.call("GET", "/openapi.json", status=200).json
        self.assertEqual(document["openapi"], "3.1.0")
        with open(__file__.replace("test_api.py", "openapi31.json"), encoding="utf-8") as file:
            jsonschema.Draft202012Validator(json.load(file)).validate(document)
        for schema in document["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)
        references = set()

        def walk(item):
            if isinstance(item, dict):
                if "$ref" in item:
                    references.add(item["$ref"])
                for part in item.values():
                    walk(part)
            elif isinstance(item, list):
                for part in item:
                    walk(part)
        walk(document)
        defined = {f"#/components/{kind}/{name}" for kind, items in document["components"].items() for name in items}
        self.assertEqual(references - defined, set())
        self.assertEqual(defined - references, set())
        ids = [op["operationId"] for item in document["paths"].values() for op in item.values()]
        self.assertEqual(len(ids), len(set(ids)))
        for path, item in document["paths"].items():
            allowed = self.api.request("OPTIONS", path.replace("{id}", "1")).headers["Allow"]
            self.assertLessEqual({m.upper() for m in item}, set(allowed.split(", ")), path)
            for op in item.values():
                named = {p["$ref"].rsplit("/")[-1] for p in op.get("parameters", [])}
                self.assertEqual("{id}" in path, "id" in named, path)
        self.assertIn(b"openapi.json", self.call("GET", "/docs", status=200).body)
        self.assertNotIn(b"http", self.call("GET", "/docs").body.split(b"</style>")[1])

    # --- bad input

    def test_bodies_that_are_none(self):
        good = {"name": "x", "price_cents": 1}
        for body, status, field in (
                ("", 400, None), ("{", 400, None), ("[]", 400, None), ("null", 400, None), ('{"name":"x"', 400, None),
                ('{"name":"a","name":"b","price_cents":1}', 400, None),
                ('{"price_cents":1e400,"name":"x"}', 400, None),
                ('{"price_cents":99999999999999999999,"name":"x"}', 400, None),
                ("[" * 5000, 400, None), ('{"name":"\\u0000","price_cents":1}', 400, None),
                (b'{"name":"\xff","price_cents":1}', 400, None), (b'{"name":"\xed\xa0\x80","price_cents":1}', 400, None),
                ({"name": "x"}, 422, "price_cents"), ({**good, "price_cents": -1}, 422, "price_cents"),
                ({**good, "price_cents": "1"}, 422, "price_cents"), ({**good, "price_cents": 1.0}, 422, "price_cents"),
                ({**good, "price_cents": None}, 422, "price_cents"), ({**good, "price_cents": True}, 422, "price_cents"),
                ({**good, "price_cents": 10**18}, 422, "price_cents"), ({**good, "name": ""}, 422, "name"),
                ({**good, "name": "   "}, 422, "name"), ({**good, "name": "x" * 201}, 422, "name"),
                ({**good, "name": "a\nb"}, 422, "name"), ({**good, "name": ["x"]}, 422, "name"),
                ({**good, "sku": "a b"}, 422, "sku"), ({**good, "currency": "eur"}, 422, "currency"),
                ({**good, "id": 5}, 422, "id"), ({**good, "__proto__": {}}, 422, "__proto__")):
            reply = self.call("POST", "/articles", body, Content_Type="application/json")
            self.assertEqual((reply.status, reply.json.get("field")), (status, field), (body, reply))
        self.assertEqual(self.call("POST", "/articles", good, Content_Type="text/plain").status, 415)
        self.assertEqual(self.call("POST", "/articles", "x" * 70000, Content_Type="application/json").status, 413)
        self.refused(400, None, "POST", "/orders/1/cancel", {"x": 1})

    def test_texts_are_only_text(self):
        evil = "'; DROP TABLE articles; -- \" \\ {\"a\"} %s $1 \u202e <script>"
        article = self.article(name=evil, description=evil)
        self.assertEqual((article["name"], article["description"]), (evil, evil))
        self.assertEqual(self.call("GET", f"/articles/{article['id']}").json["name"], evil)

    def test_paths_and_numbers_that_are_none(self):
        for path in ("/articles/0", "/articles/-1", "/articles/abc", "/articles/1.5", "/articles/%27",
                     "/articles/99999999999999999999"):
            self.refused(400, "id", "GET", path)
        self.refused(404, "id", "GET", "/articles/9223372036854775807")
        for path, status in (("/articles/../health", 400), ("/%2e%2e/etc/passwd", 400), ("/nothing", 404),
                             ("/articles/1/2/3", 404), ("/" + "a" * 1100, 414), ("/articles/%zz", 400)):
            self.assertEqual(self.call("GET", path).status, status, path)
        self.assertEqual(self.call("DELETE", "/articles").status, 405)
        self.assertEqual(self.call("GET", "/health", X_Big="x" * 9000).status, 431)
        self.refused(400, "If-Match", "DELETE", "/articles/1", If_Match="v1")
        self.refused(412, "If-Match", "DELETE", "/articles/1", If_Match='W/"v1"')

    def test_the_text_of_a_query_has_a_limit(self):
        self.refused(400, "q", "GET", "/articles?q=" + "x" * 300)
        self.refused(400, "q", "GET", "/articles?q=%00")
        self.refused(400, "q", "GET", "/articles?q=%ff")

    # --- time

    def test_a_statement_that_takes_too_long_is_given_up(self):
        api = Api(BIN, self.postgres, DB_TIMEOUT="1")
        self.addCleanup(api.close)
        article = self.article()
        lock = subprocess.Popen(["psql", "-qX", "-h", self.postgres.folder, "-U", "smartbiz", "-d", "smartbiz"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            lock.stdin.write(f"BEGIN; UPDATE articles SET name = name WHERE id = {article['id']};\n\\echo locked\n")
            lock.stdin.flush()
            self.assertEqual(lock.stdout.readline().strip(), "locked")
            reply = api.call("POST", f"/articles/{article['id']}/stock", {"change": 1})
            self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"), reply)
            self.assertEqual(api.call("GET", f"/articles/{article['id']}").status, 200)
        finally:
            lock.stdin.close()
            lock.wait()
            lock.stdout.close()
        self.assertEqual(api.call("POST", f"/articles/{article['id']}/stock", {"change": 1}, status=200).json["stock"], 11)
        self.assertEqual(api.stop(), 0)

    def test_slow_clients_do_not_hold_others_up(self):
        api = Api(BIN, self.postgres, HTTP_TIMEOUT="1", HTTP_CONNECTIONS="20")
        self.addCleanup(api.close)
        slow = [socket.create_connection(("127.0.0.1", api.port), 10) for _ in range(10)]
        for one in slow:
            one.sendall(b"POST /articles HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        self.assertEqual(api.call("GET", "/articles").status, 200)
        for one in slow:
            self.assertEqual(one.recv(1), b"")  # cut, not answered
            one.close()
        self.assertEqual(api.stop(), 0)


class LifeTest(unittest.TestCase):
    """What happens when PostgreSQL is not there, goes, comes back, or is of another time."""

    def setUp(self):
        self.postgres = Postgres()
        self.addCleanup(self.postgres.close)

    def test_it_waits_for_a_database_and_survives_its_restart(self):
        self.postgres.stop()
        api = Program(os.path.join(BIN, "smartbiz-api"), DATABASE_URL=self.postgres.url())
        self.addCleanup(api.close)
        reply = api.request("GET", "/articles")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))
        self.assertEqual(api.request("GET", "/health").status, 200)
        self.assertEqual(api.request("GET", "/ready").status, 503)
        self.postgres.start()
        until(api.ready, "the API to find its database")
        body = {"name": "a", "price_cents": 1, "stock": 5}
        self.assertEqual(api.request("POST", "/articles", body).status, 201)
        self.postgres.stop()
        for method, path in (("GET", "/articles/1"), ("POST", "/articles"), ("GET", "/articles")):
            began = time.monotonic()
            reply = api.request(method, path, body if method == "POST" else None)
            self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"), reply)
            self.assertLess(time.monotonic() - began, 10)
        self.assertIn("smartbiz_database_up 0", api.request("GET", "/metrics").body.decode())
        self.postgres.start()
        until(api.ready, "the API to find its database again")
        self.assertEqual(api.request("GET", "/articles/1").json["stock"], 5)
        until(lambda: "smartbiz_database_connections 10" in api.request("GET", "/metrics").body.decode(),
              "all connections")
        self.assertEqual(api.stop(), 0)

    def test_orders_do_not_get_slower_with_each_one(self):
        """Plans are kept while the tables grow for which they were made when these were empty."""
        api = Api(BIN, self.postgres)
        self.addCleanup(api.close)
        article = api.call("POST", "/articles", {"sku": "S", "name": "n", "price_cents": 1, "stock": 1000}, status=201).json
        customer = api.call("POST", "/customers", {"name": "n", "email": "n@example.com"}, status=201).json
        self.postgres.sql("VACUUM ANALYZE")
        orders = 200
        for _ in range(orders):
            reply = api.request("POST", "/orders", {
                "customer_id": customer["id"], "lines": [{"article_id": article["id"], "quantity": 1}]})
            self.assertEqual(reply.status, 201, reply)
        self.assertEqual(api.stop(), 0)  # its connections tell their counts when they end
        counted = dict(self.postgres.sql("SELECT relname, coalesce(seq_tup_read, 0) FROM pg_stat_user_tables"))
        self.assertEqual(self.postgres.sql("SELECT count(*) FROM orders"), [[str(orders)]])
        for table, read in counted.items():
            self.assertLess(int(read), orders, f"rows of {table} read to find one: {counted}")

    def test_a_newer_database_is_left_alone(self):
        api = Api(BIN, self.postgres)
        self.assertEqual(api.stop(), 0)
        api.close()
        self.postgres.sql("INSERT INTO schema_migrations (number, name) VALUES (9999, '9999_future.sql')")
        done = subprocess.run([os.path.join(BIN, "smartbiz-api")], capture_output=True, text=True, timeout=60,
                              env={**os.environ, "PORT": "0", "DATABASE_URL": self.postgres.url()}, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("migration 9999", done.stderr)

    def test_two_that_start_at_once_migrate_once(self):
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            apis = list(pool.map(lambda _: Api(BIN, self.postgres), range(3)))
        for api in apis:
            self.addCleanup(api.close)
        self.assertEqual(self.postgres.sql("SELECT count(*), min(number) FROM schema_migrations"), [["1", "1"]])


if __name__ == "__main__":
    unittest.main(verbosity=1)
