"""The search for an architecture, schemes and rates, with what compiled code takes in the loop."""
