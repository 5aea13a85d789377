"""Run the command line: ``python -m casa_env``."""

from casa_env.cli import main

raise SystemExit(main())
