"""Centreon as a client sees it: its Web API and its database. Values come out, no frames and no verdicts."""
