"""Takes the picture of a page: picture.py URL FILE.png [HEIGHT [dark]]

    provisioning/demo.sh &
    /usr/bin/python3 tests/e2e/picture.py http://127.0.0.1:8800/ docs/status-page.png 1240"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import Browser, Page  # noqa: E402

WIDTH = 1120


def main(url, path, height="", dark=""):
    browser = Browser()
    try:
        page = Page(browser, WIDTH, 900, dark=dark == "dark")
        page.open(url)
        page.until("document.querySelector('.age.live, #begin')", "the page to be live")
        page.resize(WIDTH, int(height or page.evaluate("document.documentElement.scrollHeight")))
        page.picture(path)
    finally:
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
