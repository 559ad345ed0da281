"""`python -m visualdub.cli` is `vdub`."""

from visualdub.cli import main

if __name__ == "__main__":
    main()
