"""From records of verdicts to the one model of the run."""
