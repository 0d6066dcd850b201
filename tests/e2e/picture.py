"""Takes the picture of a page: picture.py URL FILE.png [WIDTH [dark]]

    provisioning/demo.sh &
    /usr/bin/python3 tests/e2e/picture.py http://127.0.0.1:8800/ docs/status-page.png"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import Browser, Page  # noqa: E402


def main(url, path, width="1120", dark=""):
    browser = Browser()
    try:
        page = Page(browser, int(width), 900, dark=dark == "dark")
        page.open(url)
        page.until("document.querySelector('.age.live, #begin')", "the page to be live")
        page.resize(int(width), page.evaluate("document.documentElement.scrollHeight"))
        page.picture(path)
    finally:
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
