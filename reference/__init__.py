"""`make reference`: the pages and drawings of docs/ that are made from the code."""
