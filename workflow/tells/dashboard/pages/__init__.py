"""The pages: each module has `register(app)`, which gives the app its address and its callbacks."""

from tells.dashboard.pages import agreement, compare, files, not_found_404, overview, safety, traits, uncertainty

PAGES = (agreement, compare, files, overview, safety, traits, uncertainty, not_found_404)
