"""A Dash app over the results of the workflow: it reads files and writes none."""
