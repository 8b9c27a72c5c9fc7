"""The pages of help of all verbs. They are loaded when somebody asks for help, and not to run a verb."""

from hostfw.cli.pages_configuration import CONFIGURATION
from hostfw.cli.pages_host import HOST
from hostfw.cli.pages_in_force import IN_FORCE
from hostfw.cli.pages_meaning import MEANING
from hostfw.cli.pages_traffic import TRAFFIC

PAGES = CONFIGURATION | IN_FORCE | MEANING | TRAFFIC | HOST
