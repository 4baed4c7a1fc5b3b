"""Results that other tools have written, as evidence beside an audit: never asked through this platform."""
