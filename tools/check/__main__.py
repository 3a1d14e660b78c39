"""Check the sources: `python -m tools.check`."""

import sys

from tools.check.run import main

sys.exit(main())
