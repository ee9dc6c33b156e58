"""The newest night as values and as HTML, without Streamlit: for the overview and for the report."""
