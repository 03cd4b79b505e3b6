"""``python -m wawo`` is the command ``wawo``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
