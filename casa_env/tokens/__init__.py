"""The user's credentials: the bearer token, the X.509 proxy, and what they allow."""
