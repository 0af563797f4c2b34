"""`python -m tui` is `cloudmesh-tui`."""

import sys

from tui.cli import main

sys.exit(main())
