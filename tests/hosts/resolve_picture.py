"""docs/resolve.png: the plug-in's window, shown on a screen in memory (Xvfb).

python tests/hosts/resolve_picture.py docs/resolve.png
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import ImageGrab

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main(path: Path) -> None:
    """Show the window as it is while a timeline is dubbed, and keep its picture."""
    reads, writes = os.pipe()
    command = ["Xvfb", "-displayfd", str(writes), "-screen", "0", "700x620x24", "-nolisten", "tcp"]
    screen = subprocess.Popen(command, pass_fds=[writes], stderr=subprocess.DEVNULL)
    os.close(writes)
    try:
        with os.fdopen(reads) as said:
            os.environ["DISPLAY"] = f":{said.readline().strip()}"
        show(path)
    finally:
        screen.terminate()
        screen.wait(10)


def show(path: Path) -> None:
    from plugin_resolve.edition import read_edition
    from plugin_resolve.session import Question
    from plugin_resolve.values import SELECTED, WHOLE, Choices, TimelineInfo
    from plugin_resolve.window import TkWindow

    info = TimelineInfo("l", "Reel 3", "Show", 90000, "25", ("Audio 1", "Dialogue FR"), True)
    last = Choices(SELECTED, "Dialogue FR", "ada", "fr", "/media/show/dubs")
    sentence = read_edition("DaVinci Resolve Studio", (21, 0, 4)).sentence
    window = TkWindow()
    window.root.after(200, lambda: window._choose("dub"))
    window.ask(Question(sentence, info, ("ada", "bob"), (SELECTED, WHOLE), last, 2))
    window.say("2 dubbed, 1 refused.\nSC012_0030.mov: no face is found in it")
    window.progress("shot 2 of 5: drawing", 61, 143)
    window.root.update()
    box = window.root.winfo_rootx(), window.root.winfo_rooty()
    right, low = box[0] + window.root.winfo_width(), box[1] + window.root.winfo_height()
    picture = ImageGrab.grab(bbox=(*box, right, low), xdisplay=os.environ["DISPLAY"])
    picture.quantize(64).save(path, optimize=True)
    window.root.destroy()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
