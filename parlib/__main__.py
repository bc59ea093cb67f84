"""`python -m parlib` is the `parlib` command."""

import sys

from parlib.cli import main

sys.exit(main())
