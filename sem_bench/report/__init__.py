"""From flat rows to gains, tables, formats and figures; what a table looks like is handed in as data."""
