"""Scores → what Centreon shows. Knows the nouns and the ports, nothing else of the product."""
