"""`python3 -m hostfw.cli`, where hostfwctl is not installed."""

import sys

from hostfw.cli import main

sys.exit(main())
