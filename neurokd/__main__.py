"""`python -m neurokd`: the command line."""

from __future__ import annotations

import sys

from neurokd.cli.app import main

sys.exit(main())
