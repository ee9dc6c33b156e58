"""The overview as one self-contained HTML page, written without Streamlit."""
