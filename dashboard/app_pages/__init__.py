"""One file a page; each has `show()`, named in dashboard/page_list.py."""
