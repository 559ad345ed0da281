"""`python -m training`: the commands of `vdub train` where the project is not installed, as on a machine that
is lent for a training.
"""

from __future__ import annotations

from training.commands import train

if __name__ == "__main__":
    train()
