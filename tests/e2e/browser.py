"""A headless Chromium, driven through its debugging pipe (Chrome DevTools Protocol: messages of JSON,
each ended by a zero byte, on the browser's file descriptors 3 and 4). Needs nothing but Python and
Debian's chromium."""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

FLAGS = [
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-extensions", "--disable-sync", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--hide-scrollbars",
    "--force-color-profile=srgb",
]


# Texts whose contrast is below WCAG's 4.5 (3 when they are large), each with its ratio.
CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const pill = element.matches("g.pill") ? getComputedStyle(element.querySelector("rect")).fill : null;
      const colour = rgba(pill ?? getComputedStyle(element).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return rgba("white");
  };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    if (!text || size === 0 || !element.checkVisibility() || element.closest("noscript, title")) continue;
    const ink = rgba(element.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(element))].sort((x, y) => y - x);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) bad.push(`${text}: ${ratio.toFixed(2)}`);
  }
  return bad;
})()"""


class Gone(Exception):
    """The browser ended, or did not answer within the bound."""


class Refused(Exception):
    """The browser refused a call."""


class Browser:
    """One browser process with a profile of its own."""

    def __init__(self):
        binary = shutil.which("chromium")
        if binary is None:
            raise SystemExit("chromium is missing: apt-get install chromium")
        self.profile = tempfile.mkdtemp(prefix="covey-browser-")
        self.log = open(os.path.join(self.profile, "log"), "wb")
        in_read, self.out = os.pipe()
        self.source, out_write = os.pipe()
        # Above 4, so that neither is overwritten while they are put into place.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (in_read, out_write)]
        flags = FLAGS + ["--user-data-dir=" + self.profile]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # the sandbox is refused to root
        script = 'i=$1 o=$2; shift 2; exec "$@" 3<&"$i" 4>&"$o"'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", script, "bash", *map(str, ends), binary, *flags, "about:blank"],
            pass_fds=ends, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for fd in (in_read, out_write, *ends):
            os.close(fd)
        self.buffer = b""
        self.number = 0
        self.events = []

    def close(self):
        """Ends the browser and removes its profile."""
        try:
            self.send("Browser.close")
            self.process.wait(10)
        except (Gone, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        os.close(self.out)
        os.close(self.source)
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def tell(self, method, params=None, session=None):
        """Calls @method and does not wait for its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params or {}}
        if session is not None:
            message["sessionId"] = session
        os.write(self.out, json.dumps(message).encode() + b"\0")

    def send(self, method, params=None, session=None, bound=60):
        """Calls @method and returns its result. What else arrives is kept in self.events."""
        self.tell(method, params, session)
        end = time.monotonic() + bound
        while True:
            answer = self.receive(end - time.monotonic())
            if answer is None:
                raise Gone(f"{method} was not answered within {bound} s")
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise Refused(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self, bound):
        """The next message, or None when none came within @bound seconds."""
        while b"\0" not in self.buffer:
            if bound <= 0 or not select.select([self.source], [], [], bound)[0]:
                return None
            data = os.read(self.source, 1 << 20)
            if not data:
                raise Gone("the browser ended; it needs 'chromium --headless=new' to work here")
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)


class Page:
    """A tab in a context of its own: nothing is shared with another page."""

    def __init__(self, browser, width=1280, height=900, dark=False, javascript=True):
        self.browser = browser
        context = browser.send("Target.createBrowserContext")["browserContextId"]
        self.context = context
        self.target = browser.send("Target.createTarget", {
            "url": "about:blank", "browserContextId": context})["targetId"]
        self.session = browser.send("Target.attachToTarget", {
            "targetId": self.target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self.send(domain + ".enable")
        self.resize(width, height)
        self.colours(dark)
        if not javascript:
            self.send("Emulation.setScriptExecutionDisabled", {"value": True})

    def send(self, method, params=None):
        return self.browser.send(method, params, self.session)

    def resize(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})

    def colours(self, dark):
        self.send("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"}]})

    def open(self, url):
        """Goes to @url and waits until everything that it names was loaded."""
        self.browser.events = [e for e in self.browser.events if not self._mine(e)]
        self.send("Page.navigate", {"url": url})
        self.until(lambda: self.messages("Page.loadEventFired"), f"{url} to be loaded")

    def _mine(self, event):
        return event.get("sessionId") == self.session

    def messages(self, *methods):
        """What the page told so far: the parameters of the events of these names."""
        return [e["params"] for e in self.browser.events
                if self._mine(e) and e.get("method") in methods]

    def evaluate(self, expression):
        """The value of a JavaScript expression; works in a page whose own scripts are off too."""
        result = self.send("Runtime.evaluate", {
            "expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def holds(self, condition):
        """Whether the JavaScript expression is true; a page that is being left holds nothing."""
        try:
            return self.evaluate(f"(async () => Boolean(await ({condition})))()")
        except Refused:
            return False

    def until(self, condition, what, bound=20):
        """Waits for @condition: a function, or a JavaScript expression."""
        end = time.monotonic() + bound
        while True:
            value = self.holds(condition) if isinstance(condition, str) else condition()
            if value:
                return
            if time.monotonic() > end:
                raise AssertionError(f"waited {bound} s for {what}")
            message = self.browser.receive(0.05)
            if message is not None:
                self.browser.events.append(message)

    def complaints(self):
        """Errors of the console, uncaught exceptions, violations of the policy, failed requests."""
        found = [f"console: {m['args']}" for m in self.messages("Runtime.consoleAPICalled")
                 if m["type"] in ("error", "warning", "assert")]
        found += [f"exception: {m}" for m in self.messages("Runtime.exceptionThrown")]
        found += [f"log: {m['entry']}" for m in self.messages("Log.entryAdded")
                  if m["entry"]["level"] in ("error", "warning")]
        return found

    def requested(self):
        """The addresses of all requests."""
        return [m["request"]["url"] for m in self.messages("Network.requestWillBeSent")]

    def picture(self, path):
        """Writes a PNG of what is in view."""
        data = self.send("Page.captureScreenshot", {"format": "png"})["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def close(self):
        # Chromium may leave this unanswered when the page is just being loaded anew.
        self.browser.tell("Target.disposeBrowserContext", {"browserContextId": self.context})
