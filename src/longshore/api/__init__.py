"""The public door: HTTP to operations and back. Translates and calls; decides nothing."""
