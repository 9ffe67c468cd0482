"""Time the explorer's keystrokes in a headless Chromium, and take its picture.

    python -m tests.explorer.measure
    python -m tests.explorer.measure --picture docs/explorer/explorer.png

Each of 60 keys is pressed in the committed page; the page itself measures from the event to the finished layout
(`hfseqExplorer.lastMs`): tokens, network, maps, answers. Then a text of 1,000 letters is pasted at once.
"""

import argparse
import base64
import statistics
import tempfile
from pathlib import Path

from .browser import Browser, find_browser

PAGE = Path(__file__).parents[2] / "docs" / "explorer" / "index.html"
SENTENCE = "could you please tell me what the weather is like in Oslo to"


def keystrokes(browser: Browser, model: int) -> list[float]:
    """Return the milliseconds of each key of the sentence, typed into an empty box."""
    browser.run(f"get('model').selectedIndex = {model}; chooseModel(); get('text').value = ''; update()")
    browser.run("get('text').focus()")
    times = []
    for key in SENTENCE:
        browser.press(key)
        times.append(browser.run("hfseqExplorer.lastMs"))
    assert browser.run("get('text').value") == SENTENCE
    return times


def long_text(browser: Browser, model: int) -> list[float]:
    """Return the milliseconds of 1,000 letters that are pasted at once, and of one more key."""
    browser.run(f"get('model').selectedIndex = {model}; chooseModel(); get('text').value = ''; update()")
    browser.run("get('text').focus()")
    browser.call("Input.insertText", text=(SENTENCE + " ") * 17)
    pasted = browser.run("hfseqExplorer.lastMs")
    browser.press("x")
    return [pasted, browser.run("hfseqExplorer.lastMs")]


def picture(browser: Browser, path: Path) -> None:
    """Take the page with the LSTM, a cell pointed at."""
    size = {"width": 820, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.run("get('model').selectedIndex = 0; chooseModel(); pointed = { name: 'c', t: 2, k: 9 }; drawReadout()")
    shot = browser.call("Page.captureScreenshot", format="png")["data"]
    path.write_bytes(base64.b64decode(shot))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="a .png to write")
    options = parser.parse_args()
    program = find_browser()
    if program is None:
        parser.error("there is no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, Path(profile))
        browser.open(PAGE)
        for model, name in enumerate(browser.run("specs.map(spec => spec.name)")):
            times = keystrokes(browser, model)
            median, most = statistics.median(times), max(times)
            print(f"{name}: {median:.1f} ms a keystroke, at most {most:.1f} ({len(times)} keys)")
            pasted, key = long_text(browser, model)
            print(f"    1,000 letters at once: {pasted:.0f} ms, and one key more: {key:.0f} ms")
        if options.picture:
            picture(browser, options.picture)
        browser.close()


if __name__ == "__main__":
    main()
