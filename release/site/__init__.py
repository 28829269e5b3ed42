"""The site's reference pages, generated from the code; the `docs` stage builds the site around them."""
