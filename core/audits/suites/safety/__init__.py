"""Safety: what a model does when it is asked for harm, tricked, trusted with a secret, or left to go on writing."""
