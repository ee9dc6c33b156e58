"""Comments on changes under review, by the interfaces of GitHub and GitLab."""
