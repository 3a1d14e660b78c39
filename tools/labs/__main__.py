"""Run the labs that changed: `python -m tools.labs lstm gru`."""

import sys

from tools.core.lab import all_labs
from tools.core.stopping import stoppable
from tools.labs.run import parse, run_all

options = parse()
with stoppable():
    outcomes = run_all(options.names or all_labs(), options.device)
sys.exit(any(outcome.error for outcome in outcomes))
