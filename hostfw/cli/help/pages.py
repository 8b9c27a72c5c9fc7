"""The pages of help of all verbs. They are loaded when somebody asks for help, and not to run a verb."""

from hostfw.cli.help.configuration import CONFIGURATION
from hostfw.cli.help.host import HOST
from hostfw.cli.help.in_force import IN_FORCE
from hostfw.cli.help.meaning import MEANING
from hostfw.cli.help.quick import QUICK
from hostfw.cli.help.traffic import TRAFFIC

PAGES = CONFIGURATION | IN_FORCE | QUICK | MEANING | TRAFFIC | HOST
