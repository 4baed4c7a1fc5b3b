"""The data pipeline: what it takes, refuses, drops and makes."""
