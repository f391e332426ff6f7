"""Whole jobs, as the commands ask for them: load, choose block and rates, prune, train, write the folder."""
