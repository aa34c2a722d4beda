"""Agreement: all signals of all studies against all outcomes, in one table.

The only part of the library that reads the files of all three studies.
"""
