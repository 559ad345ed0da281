"""Makes docs/page.png: the page with a dub of the demo's portrait. From the root of the project:

vdub demo -o demo && PYTHONPATH=tests:. python tests/daemon/page_picture.py demo/portrait.actor docs/page.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from browser_helpers import Visitor, visitor
from daemon_helpers import client_of, running, short_folder

from daemon.config import Config
from daemon.page.server import Running
from visualdub.demo.run import FRENCH, make_source

FRAMES, SHOWN, EDITED = "0:100", 52, 51


def arrange(guest: Visitor) -> None:
    """A frame in the middle of a word, a curve that was edited, a decision."""
    guest.tab.locator("#frame").fill(str(SHOWN))
    guest.press("Enter")
    guest.wait_for_picture(SHOWN)
    version = guest.tab.locator("#picture").get_attribute("data-version")
    x, y = guest.curve_point(EDITED)
    guest.drag((x, y), (x, y - 22))
    guest.tab.wait_for_selector(f'#picture:not([data-version="{version}"])')
    guest.tab.locator("#note").fill("A little wider on the fourth word.")
    guest.tab.locator("[data-decision=approved]").click()
    guest.tab.wait_for_selector(".job .mark.approved")
    guest.tab.mouse.move(5, 5)
    guest.wait_for_picture(SHOWN)
    guest.tab.wait_for_timeout(1500)


def main() -> None:
    """Dub, open, arrange, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("actor", type=Path, help="the demo's actor package")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", default="1440x900")
    asked = parser.parse_args()
    width, height = (int(v) for v in asked.size.split("x"))
    with TemporaryDirectory() as name, short_folder() as short, visitor(width, height) as guest:
        folder, actor = Path(name), asked.actor.absolute()
        make_source(folder / "counting.mp4")
        roots = (folder, actor.parent, FRENCH.parent)
        config = Config(roots, short / "run", short / "state")
        with running(config) as service, client_of(service) as client:
            values = {"state": config.state, "keys": config.keys, "endpoint": service.front.endpoints[0]}
            page = Running(
                {**{k: str(v) for k, v in values.items()}, "roots": [str(r) for r in roots], "port": 0}
            )
            paths = {"clip": folder / "counting.mp4", "actor": actor, "dialogue": FRENCH}
            dub = {k: str(v) for k, v in paths.items()}
            job = client.submit(**dub, output=str(folder / "counting_fr.mkv"), frames=FRAMES)
            client.submit(**dub, output=str(folder / "counting_fr_2.mkv"), frames="0:60", priority=-1)
            client.cancel(job + 1)
            row = client.wait(job)
            assert row["state"] == "done", row["reason"]
            guest.open(f"{page.address}#{job}")
            arrange(guest)
            guest.tab.screenshot(path=str(asked.picture))
            page.close()


if __name__ == "__main__":
    main()
