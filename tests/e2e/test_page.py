"""The status page in a browser: what people see, live, without JavaScript, on a phone, by ear.

    /usr/bin/python3 tests/e2e/test_page.py build/debug/bin/page_server [TestCase.test_name ...]"""
import subprocess
import sys
import unittest
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import CONTRAST, Browser, Page  # noqa: E402

SCENARIOS = ("healthy", "degraded", "empty", "outside", "crowd", "hostile")
PAGE_MAX = 60 * 1024  # bytes, uncompressed, with everything that the page loads

# What a screen reader would stumble over.
STRUCTURE = """(() => {
  const bad = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const expect = (condition, what) => { if (!condition) bad.push(what); };
  expect(document.documentElement.lang === "en", "language");
  expect(document.title.length > 5, "title");
  for (const one of ["main", "body > header", "body footer", "h1"])
    expect(all(one).length === 1, `one ${one}`);
  const ids = all("[id]").map((e) => e.id);
  expect(new Set(ids).size === ids.length, "an id stands twice");
  for (const e of all("[aria-labelledby]"))
    expect(document.getElementById(e.getAttribute("aria-labelledby"))?.textContent.trim(),
           `label of ${e.outerHTML.slice(0, 60)}`);
  for (const e of all("img")) expect(e.hasAttribute("alt"), "alt of an image");
  for (const e of all("svg"))
    expect(e.hidden || e.hasAttribute("hidden") || e.getAttribute("aria-hidden") === "true" ||
           (e.getAttribute("role") === "img" && e.getAttribute("aria-label")), "name of a drawing");
  for (const e of all("use"))
    expect(document.querySelector(e.getAttribute("href")), `symbol ${e.getAttribute("href")}`);
  for (const e of all("th")) expect(e.scope, "scope of a head cell");
  for (const e of all("table"))
    for (const row of e.rows) expect(row.cells.length === e.rows[0].cells.length, "cells of a row");
  for (const e of all("td[data-label]"))
    expect(e.closest("table").tHead.rows[0].cells[e.cellIndex].textContent === e.dataset.label,
           `label ${e.dataset.label}`);
  for (const e of all("a")) expect(e.textContent.trim() && e.href, "text of a link");
  let level = 0;
  for (const e of all("h1, h2, h3, h4")) {
    const next = Number(e.tagName[1]);
    expect(next <= level + 1, `heading ${e.textContent} skips a level`);
    level = next;
  }
  for (const e of all(".badge, .ready, .headline"))
    expect(e.textContent.trim(), "a colour without a word");
  for (const e of all(".badge"))
    expect(e.querySelector("use"), "a badge without a symbol");
  return bad;
})()"""


class Server:
    """A page_server of its own."""

    program = None

    def __init__(self, scenario="healthy", port=0):
        self.process = subprocess.Popen([self.program, scenario, str(port)],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/"

    def ask(self, method, path):
        request = urllib.request.Request(self.url + path, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def become(self, scenario):
        self.ask("POST", "scenario?name=" + scenario)

    def stop(self):
        """Ends it, as agentd would be; it must not leak or hang."""
        if self.process.poll() is None:
            self.ask("POST", "quit")
        status = self.process.wait(20)
        self.process.stdout.close()
        return status


class PageTest(unittest.TestCase):
    browser = None

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def setUp(self):
        self.server = Server()

    def tearDown(self):
        self.assertEqual(self.server.stop(), 0)

    def page(self, scenario=None, **options):
        if scenario is not None:
            self.server.become(scenario)
        page = Page(self.browser, **options)
        self.addCleanup(page.close)
        page.open(self.server.url)
        return page

    def text(self, page, selector):
        return page.evaluate(f"document.querySelector({selector!r})?.textContent ?? ''")

    def test_says_it_all(self):
        page = self.page()
        self.assertEqual(self.text(page, "h1"), "All good: 2 nodes, 4 workloads (1 off), 1 address")
        self.assertEqual(self.text(page, ".health"), "Healthy")
        self.assertEqual(page.evaluate("document.querySelectorAll('#nodes ~ table tbody tr').length"), 2)
        self.assertEqual(page.evaluate("document.querySelectorAll('.app').length"), 3)
        self.assertIn("10.77.0.210", self.text(page, ".map"))
        self.assertIn("3 ms", self.text(page, ".map"))
        self.assertEqual(page.complaints(), [])

    def test_loads_nothing_from_elsewhere_and_is_small(self):
        page = self.page("degraded")
        page.until("document.querySelector('.age.live')", "the script")
        for url in page.requested():
            self.assertTrue(url.startswith(self.server.url), url)
        size = sum(len(self.server.ask("GET", path).encode())
                   for path in ("", "style.css", "app.js", "icon.svg"))
        self.assertLessEqual(size, PAGE_MAX)

    def test_follows_the_stream_without_a_reload(self):
        page = self.page()
        page.until("document.querySelector('.age.live')", "the script")
        page.evaluate("window.kept = document.querySelector('h1'); scrollTo(0, 300);"
                      "document.querySelector('footer a').focus({preventScroll: true})")
        self.server.become("degraded")
        page.until("document.querySelector('.health').textContent === 'Failed'", "the news")
        self.assertEqual(self.text(page, "h1"), "The address spare is held by nobody")
        self.assertIn("lost with its node", self.text(page, "main"))
        self.assertIn("Failed", page.evaluate("document.title"))
        self.assertTrue(page.evaluate("window.kept === document.querySelector('h1')"))
        self.assertEqual(page.evaluate("scrollY"), 300)
        self.assertTrue(page.evaluate("document.activeElement.matches('footer a')"))
        self.assertTrue(page.evaluate("document.querySelector('[aria-live=polite] h1') !== null"))
        for scenario in SCENARIOS[2:3] + SCENARIOS[4:] + SCENARIOS[:1]:
            self.server.become(scenario)
            fresh = "fetch('/').then((a) => a.text()).then((t) => new DOMParser()" \
                    ".parseFromString(t, 'text/html'))"
            page.until(f"{fresh}.then((d) => d.querySelector('#page').textContent.replace(/\\d+ \\w+ ago|now|in \\d+ \\w+/g, '')"
                       " === document.querySelector('#page').textContent.replace(/\\d+ \\w+ ago|now|in \\d+ \\w+/g, ''))",
                       f"the page to be that of {scenario}")
        self.assertEqual(page.complaints(), [])

    def test_enters_a_flock(self):
        page = self.page("outside")
        self.assertEqual(self.text(page, "h1"), "This node is in no flock yet")
        self.server.become("healthy")
        page.until("document.querySelectorAll('.app').length === 3", "the flock")

    def test_the_stream_is_closed_while_nobody_looks(self):
        page = self.page()
        page.until(lambda: self.server.ask("GET", "streams") == "1", "the stream")
        hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});" \
               "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(hide % "true")
        page.until(lambda: self.server.ask("GET", "streams") == "0", "the stream to be closed")
        self.server.become("degraded")
        page.evaluate(hide % "false")
        page.until("document.querySelector('.health').textContent === 'Failed'", "the news")
        page.until(lambda: self.server.ask("GET", "streams") == "1", "the stream again")

    def test_says_when_the_agent_does_not_answer_and_recovers(self):
        page = self.page()
        page.until("document.querySelector('.age.live')", "the script")
        self.assertEqual(self.server.stop(), 0)
        page.until("!document.querySelector('#lost').hidden", "the warning", bound=40)
        self.assertIn("does not answer", self.text(page, "#lost"))
        self.assertEqual(self.text(page, ".health"), "Healthy")  # what was known stays readable
        page.until("document.querySelector('.age.stale')", "the age")
        self.server = Server("degraded", self.server.port)
        page.until("document.querySelector('.health').textContent === 'Failed'", "the news", bound=40)
        self.assertTrue(page.evaluate("document.querySelector('#lost').hidden"))

    def test_is_complete_without_javascript(self):
        page = self.page("degraded", javascript=False)
        self.assertEqual(self.text(page, "h1"), "The address spare is held by nobody")
        self.assertIn("backing off", self.text(page, "main"))
        self.assertIn("2 min ago", self.text(page, "main"))
        self.assertTrue(page.evaluate("document.querySelector('noscript a').checkVisibility()"))
        self.assertEqual(page.evaluate("document.querySelectorAll('#nodes ~ table tbody tr').length"), 2)
        self.assertEqual([u for u in page.requested() if "stream" in u], [])

    def test_texts_of_others_are_only_text(self):
        page = self.page("hostile")
        page.until("document.querySelector('.age.live')", "the script")
        self.assertNotEqual(page.evaluate("document.title"), "pwned")
        self.assertEqual(page.evaluate("document.querySelectorAll('main script, main img').length"), 0)
        self.assertIn("<script>", self.text(page, "h1"))
        self.assertEqual(page.complaints(), [])

    def test_the_policy_forbids_what_is_inline(self):
        page = self.page()
        page.evaluate("document.body.append(Object.assign(document.createElement('script'),"
                      "{textContent: 'window.ran = 1'}))")
        self.assertIsNone(page.evaluate("window.ran"))
        page.until(lambda: any("Content Security Policy" in c for c in page.complaints()),
                   "the browser's complaint")

    def test_fits_every_width(self):
        page = self.page()
        for scenario in SCENARIOS:
            self.server.become(scenario)
            for width in (320, 360, 600, 861, 1024, 1920):
                page.resize(width, 700)
                page.open(self.server.url)
                self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), width,
                                     f"{scenario} at {width}")

    def test_can_be_read_in_light_and_dark(self):
        page = self.page()
        grounds = set()
        for dark in (False, True):
            page.colours(dark)
            for scenario in SCENARIOS:
                self.server.become(scenario)
                page.open(self.server.url)
                self.assertEqual(page.evaluate(CONTRAST), [], f"{scenario}, dark: {dark}")
            grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(grounds), 2)

    def test_can_be_heard(self):
        page = self.page()
        for scenario in SCENARIOS:
            self.server.become(scenario)
            page.open(self.server.url)
            self.assertEqual(page.evaluate(STRUCTURE), [], scenario)

    def test_tables_stay_tables_on_a_phone(self):
        page = self.page(width=320)
        nodes = page.send("Accessibility.getFullAXTree")["nodes"]
        roles = [n["role"]["value"] for n in nodes if not n.get("ignored")]
        self.assertEqual(roles.count("table"), 5)
        self.assertEqual(roles.count("row"), 5 + 2 + 4 + 2)  # heads, nodes, instances, paths
        for landmark in ("banner", "main", "contentinfo", "status"):
            self.assertIn(landmark, roles)
        names = {n["name"]["value"] for n in nodes if n.get("role", {}).get("value") == "table"}
        self.assertEqual(names, {"Nodes", "Who hears whom", "batch-job", "metrics-app", "rest-api"})


if __name__ == "__main__":
    Server.program = sys.argv.pop(1)
    unittest.main(verbosity=2)
