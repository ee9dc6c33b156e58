"""The data of pages: cached reads of the store as DataFrames, and the settings of the server."""
