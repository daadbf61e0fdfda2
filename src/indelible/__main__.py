"""``python -m indelible``: the command line."""

import sys

from indelible.cli import main

sys.exit(main())
