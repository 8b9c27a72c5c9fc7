"""`python3 -m hostfw.daemon`, as the service runs it."""

import sys

from hostfw.daemon.main import main

sys.exit(main())
