"""Sign-in: providers by token or OpenID Connect, sessions, and the middleware before every endpoint."""
