"""The pages: each module has `register(app)`, which gives the app its address and its callbacks."""

from tells.dashboard.pages import not_found_404, overview, uncertainty

PAGES = (overview, uncertainty, not_found_404)
