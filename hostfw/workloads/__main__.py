"""`python3 -m hostfw.workloads READER`, as the service of a reader runs it."""

import sys

from hostfw.workloads.main import main

sys.exit(main())
