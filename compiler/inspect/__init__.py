"""What can be told of a model without compiling it: its zeros, and what would be fused."""
