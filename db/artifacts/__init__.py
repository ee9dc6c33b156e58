"""Files that runs keep, such as reports of `ncu`."""
