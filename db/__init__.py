"""The vocabulary and the only door to the store. Knows nothing of GPUs or Streamlit."""
