"""The dashboard of a store: Streamlit pages over pure Plotly charts. No statistics beyond sums."""
