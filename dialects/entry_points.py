"""Functions of a program that its caller knows by name."""

MAIN = "main"
"""The function of a model: what is called where no function is named."""

RESET = "reset"
"""The function that a module with state gets: it takes and returns nothing, and gives all state its initial value."""
