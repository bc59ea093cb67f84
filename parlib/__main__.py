"""`python -m parlib` is the `parlib` command."""

from parlib.cli import main

raise SystemExit(main())
