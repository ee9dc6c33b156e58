"""Pure functions: a DataFrame in, a Plotly figure out. Nothing here knows Streamlit or the store."""
