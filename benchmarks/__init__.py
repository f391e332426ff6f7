"""Benchmarks of Secateur beside its peers: `make bench-peers`, and the harness behind `secateur bench --peers`."""
