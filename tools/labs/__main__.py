"""Run the labs that changed: `python -m tools.labs lstm gru`."""

import sys

from tools.core.lab import stems
from tools.core.stopping import stoppable
from tools.labs.run import parse, run_all

options = parse()
with stoppable():
    outcomes = run_all(options.stems or stems(), options.device)
sys.exit(any(outcome.error for outcome in outcomes))
