"""A dataset on one page of HTML that needs nothing but itself."""
