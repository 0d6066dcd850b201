"""The page of SmartBiz in a real browser, on the real API and PostgreSQL, through a working day:
python3 test_ui.py FOLDER-OF-PROGRAMS"""
import gzip
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from browser import CONTRAST, Browser, Page  # noqa: E402
from rig import Api, Postgres, Program, until  # noqa: E402

BIN = sys.argv.pop(1)
VIEWS = ("#/", "#/articles", "#/low", "#/customers", "#/orders", "#/orders/new")
# What a screen reader could not name: controls without a name, more or less than one main heading.
NAMELESS = """(() => {
  const bad = [...document.querySelectorAll('button, a, input, select, textarea, [role=img], dialog[open]')]
    .filter((one) => one.checkVisibility())
    .filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.[0]?.textContent.trim()
      || document.getElementById(one.getAttribute('aria-labelledby'))?.textContent.trim()))
    .map((one) => one.outerHTML);
  if (document.querySelectorAll('h1').length !== 1) bad.push('h1');
  if (document.querySelectorAll('[id]').length !== new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size) bad.push('ids');
  return bad;
})()"""


class Visitor:
    """A person at the page: finds things by the words that stand there."""

    def __init__(self, case, page, url):
        self.case = case
        self.page = page
        self.url = url
        page.open(url)
        self.sees("Overview", "h1")

    def js(self, expression):
        return self.page.evaluate(expression)

    def sees(self, text, selector="body"):
        self.page.until(f"[...document.querySelectorAll({json.dumps(selector)})].some((one) => "
                        f"(one.innerText ?? one.textContent).includes({json.dumps(text)}))", f"{text!r} in {selector}")

    def sees_not(self, text, selector="body"):
        self.page.until(f"![...document.querySelectorAll({json.dumps(selector)})].some((one) => "
                        f"one.innerText.includes({json.dumps(text)}))", f"no {text!r} in {selector}")

    def press(self, text, within="body"):
        """Presses the button or link of this name, as soon as it is there and not busy."""
        find = (f"[...document.querySelectorAll({json.dumps(within)})].at(-1)?.querySelectorAll('button, a')")
        pick = (f"[...({find} ?? [])].find((one) => (one.getAttribute('aria-label') ?? one.innerText).trim() === "
                f"{json.dumps(text)} && !one.disabled && one.checkVisibility())")
        self.page.until(pick, f"the button {text!r} in {within}")
        self.js(f"{pick}.focus(), {pick}.click()")

    def fill(self, label, text, within="body", at=0):
        pick = (f"[...[...document.querySelectorAll({json.dumps(within)})].at(-1)?.querySelectorAll('label') ?? []]"
                f".filter((one) => one.innerText.trim() === {json.dumps(label)})[{at}]")
        self.page.until(pick, f"the field {label!r}")
        self.js(f"(() => {{ const input = {pick}.control; input.focus(); input.select?.(); }})()")
        self.page.send("Input.insertText", {"text": text})

    def choose(self, label, value):
        self.js(f"(() => {{ const input = [...document.querySelectorAll('label')].find((one) => one.innerText === "
                f"{json.dumps(label)}).control; input.value = {json.dumps(value)}; "
                "input.dispatchEvent(new Event('change')); })()")

    def key(self, key, code=0):
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, "windowsVirtualKeyCode": code}
            if kind == "keyDown" and len(key) == 1:
                event["text"] = key
            if key == "Enter":
                event["text"] = "\r"
            self.page.send("Input.dispatchKeyEvent", event)

    def pick(self, label, text, at=0):
        """Chooses by the keyboard in a field that searches while one types."""
        self.fill(label, text, "main", at)
        self.page.until(f"[...document.querySelectorAll('[role=option][aria-selected=true]')].some((one) => "
                        f"one.innerText.includes({json.dumps(text)}))", f"{text!r} to be offered")
        self.key("Enter", 13)
        self.page.until("document.querySelectorAll('[role=listbox]:not([hidden])').length === 0", "the list to close")

    def go(self, place):
        self.js(f"location.hash = {json.dumps(place)}")

    def error(self, text):
        self.sees(text, "[role=alert], .error")


class UiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.api = Api(BIN, cls.postgres)
        cls.ui = Program(os.path.join(BIN, "smartbiz-ui"), API_URL=f"http://127.0.0.1:{cls.api.port}")
        cls.url = f"http://127.0.0.1:{cls.ui.port}/"
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        codes = cls.ui.stop(), cls.api.stop()
        lines = cls.ui.lines()
        cls.ui.close()
        cls.api.close()
        cls.postgres.close()
        assert codes == (0, 0), codes
        assert not [line for line in lines if '"status":500' in line or "runtime error" in line], lines

    def visitor(self, **options):
        page = Page(self.browser, **options)
        self.addCleanup(page.close)
        return Visitor(self, page, self.url)

    def test_a_working_day(self):
        one = self.visitor()
        self.addCleanup(lambda: self.assertEqual([c for c in one.page.complaints() if "status of 4" not in c], []))
        # The first article, with a mistake at first.
        one.press("Articles", "nav")
        one.press("New article", "main")
        one.fill("Name", "Kaffeemühle", "dialog")
        one.fill("Price", "abc", "dialog")
        one.press("Save", "dialog")
        one.sees("must be a price like", "dialog")
        one.fill("Price", "49,90", "dialog")
        one.fill("Number", "KM-1", "dialog")
        one.fill("Minimum stock", "2", "dialog")
        one.fill("Stock", "5", "dialog")
        one.press("Save", "dialog")
        one.sees("Kaffeemühle", "table")
        one.sees("€49.90", "table")
        # The same number again is told in plain words, at its field.
        one.press("New article", "main")
        one.fill("Name", "Other", "dialog")
        one.fill("Number", "KM-1", "dialog")
        one.fill("Price", "1", "dialog")
        one.press("Save", "dialog")
        one.sees("Another article has this number.", "dialog")
        one.press("Close", "dialog")
        # Stock by its buttons.
        one.press("Kaffeemühle: −1", "main")
        one.sees("4", ".stock output")
        one.press("Kaffeemühle: −10", "main")
        one.error("There are 4 in stock")
        one.press("Kaffeemühle: +1", "main")
        one.sees("5", ".stock output")
        # A customer.
        one.press("Customers", "nav")
        one.press("New customer", "main")
        one.fill("Name", "Café Süd", "dialog")
        one.fill("E-mail", "nonsense", "dialog")
        one.press("Save", "dialog")
        one.sees("must have the form", "dialog")
        one.fill("E-mail", "sued@example.com", "dialog")
        one.press("Save", "dialog")
        one.sees("Café Süd", "table")
        # An order, by the keyboard; more than there is, at first.
        one.press("Orders", "nav")
        one.press("New order", "main")
        one.press("Place order", "main")
        one.sees("Choose a customer.", "main")
        one.pick("Customer", "Café")
        one.pick("Article", "Kaffee")
        one.sees("5 in stock", ".line")
        one.fill("Quantity", "6", "main")
        one.sees("Only 5 in stock", ".line")
        one.press("Place order", "main")
        one.error("There is not enough of KM-1: 5 left.")
        one.fill("Quantity", "5", "main")
        one.sees("€249.50", ".total")
        one.press("Place order", "main")
        one.sees("Order 1", "h1")
        one.sees("Confirmed", ".chip")
        # Nothing is left: it shows where one looks for it.
        one.sees("1", "#low-count")
        one.press("Low stock 1", "nav")
        one.sees("Kaffeemühle", "table")
        one.sees("0", ".stock output")
        # Cancelled: it is back.
        one.go("#/orders/1")
        one.press("Cancel order", "main")
        one.press("No", "dialog")
        one.press("Cancel order", "main")
        one.press("Yes", "dialog")
        one.sees("Cancelled", ".chip")
        one.sees("Cancelled", "main table:last-of-type")
        one.press("Articles", "nav")
        one.sees("5", ".stock output")
        one.press("Movements of stock: Kaffeemühle", "main")
        one.sees("Order 1", "dialog")
        one.press("Close", "dialog")
        # A draft, which is rewritten, confirmed and shipped.
        one.go("#/orders/new")
        one.sees("New order", "h1")
        one.pick("Customer", "Café")
        one.pick("Article", "Kaffee")
        one.press("Save as draft", "main")
        one.sees("Draft", ".chip")
        one.press("Edit draft", "main")
        one.sees("5 in stock", ".line")
        one.fill("Quantity", "2", "main")
        one.press("Place order", "main")
        one.sees("Confirmed", ".chip")
        one.press("Mark as shipped", "main")
        one.sees("Shipped", ".chip")
        # A file with a mistake, then without.
        folder = tempfile.mkdtemp(prefix="covey-csv-")
        self.addCleanup(shutil.rmtree, folder)
        one.press("Articles", "nav")
        one.press("Import CSV", "main")
        for name, text, says in (("one.csv", "sku;name;price;stock\nKM-1;;;7\nNEW-1;Filter;x;100\n", "1 mistakes"),
                                 ("two.csv", "sku;name;price;stock\nKM-1;;;7\nNEW-1;Filter;2,50;100\n",
                                  "2 rows: 1 new, 1 changed")):
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            root = one.page.send("DOM.getDocument")["root"]["nodeId"]
            node = one.page.send("DOM.querySelector", {"nodeId": root, "selector": "dialog input[type=file]"})["nodeId"]
            one.page.send("DOM.setFileInputFiles", {"nodeId": node, "files": [path]})
            one.sees(says, "dialog")
        one.press("Import now", "dialog")
        one.sees("Filter", "table")
        one.sees("100", ".stock output")
        # What the day was.
        one.press("Overview", "nav")
        one.sees("€99.80", ".stat")
        one.sees("Kaffeemühle", ".bars")
        stock = self.postgres.sql("SELECT sku, stock, (SELECT sum(change) FROM stock_movements m WHERE m.article_id = a.id) "
                                  "FROM articles a ORDER BY sku")
        self.assertEqual(stock, [["KM-1", "7", "7"], ["NEW-1", "100", "100"]])

    def test_two_people_at_one_article(self):
        self.api.call("POST", "/articles", {"name": "Waage", "price_cents": 100, "sku": "WAAGE-9"}, status=201)
        one = self.visitor()
        one.go("#/articles")
        one.fill("Search", "Waage", "main")
        one.press("Waage", "main")
        one.sees("Edit Waage", "dialog")
        self.api.call("PATCH", f"/articles/{self.api.call('GET', '/articles?q=WAAGE-9').json['items'][0]['id']}",
                      {"price_cents": 200}, status=200)
        one.fill("Price", "3", "dialog")
        one.press("Save", "dialog")
        one.sees("Somebody else has changed this meanwhile.", "dialog")

    def test_keys_language_and_appearance(self):
        one = self.visitor()
        one.go("#/articles")
        one.sees("Articles", "h1")
        one.key("/", 191)
        self.assertTrue(one.js("document.activeElement.matches('.search')"))
        one.js("document.activeElement.blur()")
        one.key("n", 78)
        one.sees("New article", "dialog")
        self.assertTrue(one.js("document.querySelector('dialog').contains(document.activeElement)"))
        one.key("Escape", 27)
        one.page.until("!document.querySelector('dialog')", "the dialog to close")
        light = one.js("getComputedStyle(document.body).backgroundColor")
        one.press("Settings", "header")
        one.choose("Appearance", "dark")
        self.assertNotEqual(one.js("getComputedStyle(document.body).backgroundColor"), light)
        one.choose("Language", "de")
        one.sees("Artikel", "h1")
        self.assertEqual(one.js("document.documentElement.lang"), "de")
        one.page.open(self.url)
        one.go("#/orders/new")
        one.sees("Neue Bestellung", "h1")
        words = one.js("import('/text.js').then(({t, setLanguage}) => ['en', 'de'].map((name) => "
                       "{ setLanguage(name); return t('saved', {name: 'x'}); }))")
        self.assertEqual(words, ['"x" is saved.', "„x“ ist gespeichert."])

    def test_every_view_fits_can_be_read_and_be_heard(self):
        self.api.call("POST", "/articles", {"name": "Ein sehr langer Name " * 6, "price_cents": 999999999, "stock": 1,
                                            "min_stock": 5, "sku": "LONG-" + "X" * 50}, status=201)
        self.api.call("POST", "/customers", {"name": "N" * 120, "email": "n" * 60 + "@" + "example." * 10 + "com"}, status=201)
        one = self.visitor()
        for dark in (False, True):
            one.page.colours(dark)
            for view in VIEWS:
                one.go(view)
                one.page.until("!document.getElementById('main').hasAttribute('aria-busy') && document.querySelector('h1')", view)
                one.page.until("!document.querySelector('.busy')", view)
                for width in (360, 768, 1280) if not dark else (360,):
                    one.page.resize(width, 800)
                    self.assertLessEqual(one.js("document.documentElement.scrollWidth"), width, f"{view} at {width}")
                    self.assertLessEqual(one.js("document.getElementById('nav').scrollWidth - document.getElementById('nav').clientWidth"),
                                         0, f"the places at {width}")
                self.assertEqual(one.js(CONTRAST), [], f"{view}, dark: {dark}")
                self.assertEqual(one.js(NAMELESS), [], view)

    def test_nothing_comes_from_elsewhere_and_texts_stay_texts(self):
        evil = "<img src=x onerror=\"document.title='pwned'\">"
        self.api.call("POST", "/articles", {"name": evil, "price_cents": 1, "description": evil}, status=201)
        one = self.visitor()
        one.go("#/articles")
        one.fill("Search", "onerror", "main")
        one.sees(evil, "table")
        self.assertEqual(one.js("document.querySelectorAll('main img').length"), 0)
        for url in one.page.requested():
            self.assertTrue(url.startswith(self.url), url)
        one.js("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
        self.assertIsNone(one.js("window.ran"))

    def test_a_database_that_is_away_is_told_and_comes_back(self):
        one = self.visitor()
        self.postgres.stop()
        try:
            one.go("#/orders")
            one.error("The database is not reachable at the moment.")
        finally:
            self.postgres.start()
        until(self.api.ready, "the API to be ready again")
        one.press("Show again", "main") if one.js("document.querySelector('main .note.bad') !== null") else one.go("#/customers")
        one.page.until("document.querySelector('table')", "the table")

    # --- the server of the page

    def fetch(self, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.ui.port, timeout=30)
        connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def test_files_are_packed_and_kept(self):
        for path in ("/", "/app.js", "/style.css", "/icon.svg", "/text.js"):
            plain, body = self.fetch(path)
            self.assertEqual((plain.status, plain.headers["Content-Encoding"]), (200, None))
            packed, data = self.fetch(path, Accept_Encoding="gzip, deflate")
            self.assertEqual((packed.headers["Content-Encoding"], gzip.decompress(data)), ("gzip", body))
            packed, data = self.fetch(path, Accept_Encoding="gzip, br;q=0.9")
            self.assertEqual(packed.headers["Content-Encoding"], "br")
            self.assertEqual(subprocess.run(["brotli", "-dc"], input=data, capture_output=True, check=True).stdout, body)
            self.assertLess(len(data), len(body))
            again, nothing = self.fetch(path, Accept_Encoding="br", If_None_Match=packed.headers["ETag"])
            self.assertEqual((again.status, nothing), (304, b""))
            refused, _ = self.fetch(path, Accept_Encoding="br;q=0, gzip;q=0.0")
            self.assertIsNone(refused.headers["Content-Encoding"])
            self.assertEqual(len({plain.headers["ETag"], packed.headers["ETag"]}), 2)
        for path, status in (("/nothing.js", 404), ("/../etc/passwd", 400), ("/%2e%2e/x", 400), ("/a/b", 404)):
            self.assertEqual(self.fetch(path)[0].status, status, path)

    def test_the_api_behind_it(self):
        made = self.ui.request("POST", "/api/articles", {"name": "p", "price_cents": 1}, {"X-Request-Id": "through", "X-User": "P%C3%A4"})
        self.assertEqual((made.status, made.headers["X-Request-Id"]), (201, "through"))
        path = made.headers["Location"]
        self.assertTrue(path.startswith("/api/articles/"))
        got = self.ui.request("GET", path)
        self.assertEqual(self.ui.request("GET", path, headers={"If-None-Match": got.headers["ETag"]}).status, 304)
        self.assertEqual(self.ui.request("HEAD", path).body, b"")
        self.assertEqual(self.ui.request("GET", "/api/articles?q=%26%3D&limit=1&sort=-id").json["items"], [])
        self.assertEqual(self.ui.request("GET", "/api/articles?limit=0").json["field"], "limit")
        self.assertEqual(self.ui.request("DELETE", path).status, 204)
        self.assertIn("through", "".join(self.api.lines()))

    def test_an_api_that_is_not_there_or_answers_nonsense(self):
        port = socket.socket()
        port.bind(("127.0.0.1", 0))
        port.listen(8)
        answers = [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
                   b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"]

        def serve():
            for answer in answers:
                client = port.accept()[0]
                client.recv(65536)
                client.sendall(answer)
                client.close()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        ui = Program(os.path.join(BIN, "smartbiz-ui"), API_URL=f"http://127.0.0.1:{port.getsockname()[1]}")
        self.addCleanup(ui.close)
        codes = [ui.request("GET", "/api/x").status for _ in answers]
        self.assertEqual(codes, [503, 502, 502, 502, 503, 502, 200])
        thread.join()
        port.close()
        reply = ui.request("GET", "/api/x")
        self.assertEqual((reply.status, reply.headers["Retry-After"]), (503, "1"))
        self.assertEqual(ui.request("GET", "/").status, 200)
        self.assertEqual(ui.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
