"""Results as people read them: tables on a terminal now, figures and reports on the same numbers."""
