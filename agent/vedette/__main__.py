"""`python -m vedette` is the command `vedette`."""

import sys

from vedette.cli import main

sys.exit(main())
