"""The pages: each has a function `show()`, listed in `dashboard/navigation.py`."""
