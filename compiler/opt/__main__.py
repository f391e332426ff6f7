"""`python -m secateur.compiler.opt`."""

import sys

from . import main

sys.exit(main())
