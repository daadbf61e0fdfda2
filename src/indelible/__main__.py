"""``python -m indelible``: the command line."""

from indelible.cli import entry

if __name__ == "__main__":
    entry()
