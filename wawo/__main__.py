"""``python -m wawo`` is the command ``wawo``."""

import sys

from .cli import main

sys.exit(main())
