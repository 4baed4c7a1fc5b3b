"""An audit as other tools read it: Inspect's logs and lm-eval's result files."""
