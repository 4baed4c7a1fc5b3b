"""The models that can be asked for, and the names they go by."""
