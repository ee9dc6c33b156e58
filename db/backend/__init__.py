"""The database behind a store: engines, bulk inserts, encodings, errors and retries."""
