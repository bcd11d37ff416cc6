"""``python -m genies`` is the command ``genies``."""

import sys

from genies.cli import main

sys.exit(main())
