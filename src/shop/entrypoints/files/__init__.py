"""Files that people bring and take: CSV and JSON Lines, read and written row by row."""
