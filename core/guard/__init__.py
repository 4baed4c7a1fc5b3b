"""The guard over what is being written: nothing leaves while a rule could still match a text that contains it."""
