"""One file a page; each has `show()`, named in dashboard/navigation.py."""
