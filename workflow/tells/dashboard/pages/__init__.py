"""The pages: each module has `register(app)`, which gives the app its address and its callbacks."""

from tells.dashboard.pages import compare, files, not_found_404, overview, uncertainty

PAGES = (compare, files, overview, uncertainty, not_found_404)
