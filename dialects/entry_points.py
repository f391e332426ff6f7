"""Functions of a program that its caller knows by name."""

MAIN = "main"
"""The function of a model: what is called where no function is named."""

RESET = "reset"
"""The function that a module with state gets: it takes and returns nothing, and gives all state its initial value."""

DECODE = "decode"
"""The function of a generating model that takes the last token and gives the logits of the next."""

PREFILL = "prefill_"
"""What the functions begin with that take as many tokens of a prompt as the rest of their name says."""

POSITION = "position"
"""The input of these functions that says where the first of their tokens stands."""
