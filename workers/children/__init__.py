"""What the kinds share whose work is done by child processes: their folders, their files, and following them."""
