"""`python -m flow.cli`, where the script is not installed."""

from flow.cli import main

raise SystemExit(main())
