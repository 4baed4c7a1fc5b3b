"""What every page and plot shares: axes, round numbers on them, numbers in few characters, one style."""
